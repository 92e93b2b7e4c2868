package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// foreign begins the section of the manual that has another library's names.
const foreign = "# For those who know hashicorp/raft"

// TestTheManualNamesWhatExists: every name of code in the package documentation of replication/vr is one of the rooms
// below replication. A name is known by its package before it, or by capitals within it.
func TestTheManualNamesWhatExists(t *testing.T) {
	exported := map[string]bool{} // Name, and package.Name
	manual := ""
	for _, file := range sourceFiles(t) {
		if file.path == "replication/vr/doc.go" {
			manual = file.text
		}
		if strings.HasPrefix(file.path, "replication/") {
			noteExported(t, exported, file)
		}
	}
	before, rest, found := strings.Cut(manual, foreign)
	require.True(t, found, "the manual has no section %q", foreign)
	_, after, found := strings.Cut(rest, "\n// # ")
	require.True(t, found)
	names := namesOfCode(before + after)
	require.Greater(t, len(names), 40, "the test would prove nothing")
	for _, name := range names {
		require.True(t, exported[name], "the manual of replication/vr says %s, which is not there", name)
	}
}

func namesOfCode(text string) []string {
	text = regexp.MustCompile(`grpc\.\w+|\bMiB\b|\bKiB\b`).ReplaceAllString(text, "")
	return regexp.MustCompile(`\b(?:(?:replication|vr|core|storage|streams|vrtest|transport|sessions)\.[A-Z]\w*|[A-Z][a-z]+[A-Z]\w*)\b`).
		FindAllString(text, -1)
}

// noteExported adds a file's exported names: what it declares, with methods, fields and the methods of interfaces.
func noteExported(t *testing.T, exported map[string]bool, file sourceFile) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file.path, file.text, 0)
	require.NoError(t, err)
	room := filepath.Base(filepath.Dir(file.path))
	ast.Inspect(parsed, func(node ast.Node) bool {
		var names []*ast.Ident
		switch node := node.(type) {
		case *ast.FuncDecl:
			names = []*ast.Ident{node.Name}
		case *ast.TypeSpec:
			names = []*ast.Ident{node.Name}
		case *ast.ValueSpec:
			names = node.Names
		case *ast.Field:
			names = node.Names
		}
		for _, name := range names {
			if name.IsExported() {
				exported[name.Name], exported[room+"."+name.Name] = true, true
			}
		}
		return true
	})
}

// TestNamesOfCode: the test above sees what it looks for.
func TestNamesOfCode(t *testing.T) {
	require.Equal(t, []string{"ReadBarrier", "storage.Open", "core.Ready", "NotPrimaryError"},
		namesOfCode("Reading: ReadBarrier, PREPAREOK and Submit; storage.Open, storage.what, core.Ready, grpc.MaxRecvMsgSize, *replication NotPrimaryError"))
}
