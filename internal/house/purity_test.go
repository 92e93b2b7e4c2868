package house

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// anyOrder begins the comment of a range over a map whose order makes no difference, and says why.
const anyOrder = "// any order: "

// TestPureRoomsAreDeterministic: no goroutine, channel or lottery of a select, and no range over a map, whose
// order differs from run to run, unless the line says why it makes no difference.
func TestPureRoomsAreDeterministic(t *testing.T) {
	set := token.NewFileSet()
	imports := importer.ForCompiler(set, "source", nil)
	for _, room := range pure {
		for _, found := range nondeterminism(t, set, imports, room, parseRoom(t, set, room)) {
			t.Error(found)
		}
	}
}

// TestNondeterminismIsFound: the test above sees what it looks for.
func TestNondeterminismIsFound(t *testing.T) {
	const source = `package p
type names map[int]string
func f(m names, c chan int, list []int) {
	go f(nil, nil, nil)
	select {}
	for range m {}
	for range m {} // any order: nothing is done
	for i := range list { _ = i }
	for range 3 { c <- 1 }
	<-c
}`
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "p.go", source, parser.ParseComments)
	require.NoError(t, err)
	found := nondeterminism(t, set, importer.Default(), "p", []*ast.File{file})
	require.Equal(t, []string{
		"p.go:3: a channel in p", "p.go:4: a goroutine in p", "p.go:5: a select in p", "p.go:6: a range over a map in p",
	}, found)
}

func parseRoom(t *testing.T, set *token.FileSet, room string) []*ast.File {
	var files []*ast.File
	for _, source := range sourceFiles(t) {
		if filepath.ToSlash(filepath.Dir(source.path)) != room {
			continue
		}
		file, err := parser.ParseFile(set, source.path, source.text, parser.ParseComments)
		require.NoError(t, err)
		files = append(files, file)
	}
	require.NotEmpty(t, files, room)
	return files
}

func nondeterminism(t *testing.T, set *token.FileSet, imports types.Importer, room string, files []*ast.File) (found []string) {
	info := types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	_, err := (&types.Config{Importer: imports}).Check(room, set, files, &info)
	require.NoError(t, err)
	report := func(node ast.Node, what string) {
		position := set.Position(node.Pos())
		found = append(found, fmt.Sprintf("%s:%d: %s in %s", position.Filename, position.Line, what, room))
	}
	for _, file := range files {
		excused := excusedLines(set, file)
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.GoStmt:
				report(node, "a goroutine")
			case *ast.SelectStmt:
				report(node, "a select")
			case *ast.ChanType:
				report(node, "a channel")
			case *ast.RangeStmt:
				if _, isMap := info.Types[node.X].Type.Underlying().(*types.Map); isMap && !excused[set.Position(node.Pos()).Line] {
					report(node, "a range over a map")
				}
			}
			return true
		})
	}
	return found
}

func excusedLines(set *token.FileSet, file *ast.File) map[int]bool {
	lines := map[int]bool{}
	for _, group := range file.Comments {
		for _, comment := range group.List {
			if strings.HasPrefix(comment.Text, anyOrder) {
				lines[set.Position(comment.Pos()).Line] = true
			}
		}
	}
	return lines
}
