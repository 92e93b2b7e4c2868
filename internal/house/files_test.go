package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The house's measures, in lines.
const (
	functionLinesMax = 70
	fileLinesMax     = 500
)

type goPackage struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

func listPackages(t *testing.T) []goPackage { return goList(t, "./...") }

func goList(t *testing.T, arguments ...string) []goPackage {
	t.Helper()
	command := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Standard"}, arguments...)...)
	command.Dir = root(t)
	var failure bytes.Buffer
	command.Stderr = &failure
	output, err := command.Output()
	require.NoError(t, err, failure.String())
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else {
			require.NoError(t, err)
		}
		packages = append(packages, p)
	}
}

func root(t *testing.T) string {
	t.Helper()
	directory, err := filepath.Abs("../..")
	require.NoError(t, err)
	return directory
}

type sourceFile struct {
	path string
	text string
}

// sourceFiles returns the Go files that people write and that are not tests.
func sourceFiles(t *testing.T) []sourceFile { return goFiles(t, false) }

func goFiles(t *testing.T, tests bool) []sourceFile {
	t.Helper()
	var files []sourceFile
	top := root(t)
	require.NoError(t, filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != top {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".pb.go") || !tests && strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(top, path)
		files = append(files, sourceFile{path: filepath.ToSlash(name), text: string(text)})
		return err
	}))
	require.Greater(t, len(files), 20)
	return files
}

func TestFilesAndFunctionsAreShort(t *testing.T) {
	var long []string
	for _, file := range goFiles(t, true) {
		if lines := strings.Count(file.text, "\n"); lines > fileLinesMax {
			long = append(long, fmt.Sprintf("%s has %d lines: divide it by what it does", file.path, lines))
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file.path, file.text, 0)
		require.NoError(t, err)
		for _, declaration := range parsed.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok {
				if lines := set.Position(function.End()).Line - set.Position(function.Pos()).Line + 1; lines > functionLinesMax {
					long = append(long, fmt.Sprintf("%s: %s has %d lines", file.path, function.Name.Name, lines))
				}
			}
		}
	}
	require.Empty(t, long)
}

// globals are the package-level variables that are neither errors nor type assertions: tables that Go cannot
// declare constant. A new one is a decision: state belongs to a value that somebody made.
var globals = []string{
	"coordinator.noEffect", "coordinator.tookEffect",
	"internal/node.castagnoli", "replication/raft.castagnoli", "replication/transport.castagnoli", "replication/vr/storage.castagnoli", "sim/transactions.commitKinds",
	"sim/transactions.markNames", "sim/transactions.objects", "sim/transactions.terminateKinds",
}

func TestNoGlobalsThatChangeAndNoInit(t *testing.T) {
	var found []string
	for _, file := range sourceFiles(t) {
		room := filepath.ToSlash(filepath.Dir(file.path))
		parsed, err := parser.ParseFile(token.NewFileSet(), file.path, file.text, 0)
		require.NoError(t, err)
		for _, declaration := range parsed.Decls {
			switch declaration := declaration.(type) {
			case *ast.FuncDecl:
				require.False(t, declaration.Recv == nil && declaration.Name.Name == "init", "%s has an init function", file.path)
			case *ast.GenDecl:
				for _, name := range variables(declaration) {
					found = append(found, room+"."+name)
				}
			}
		}
	}
	slices.Sort(found)
	require.Equal(t, globals, found)
}

// variables names what a declaration declares, but for errors and for `var _`.
func variables(declaration *ast.GenDecl) (names []string) {
	if declaration.Tok != token.VAR {
		return nil
	}
	for _, spec := range declaration.Specs {
		for _, name := range spec.(*ast.ValueSpec).Names {
			if name.Name != "_" && !strings.HasPrefix(strings.ToLower(name.Name), "err") {
				names = append(names, name.Name)
			}
		}
	}
	return names
}

func TestEveryRoomSaysWhatItIs(t *testing.T) {
	documented := map[string]bool{}
	for _, file := range sourceFiles(t) {
		room := filepath.ToSlash(filepath.Dir(file.path))
		parsed, err := parser.ParseFile(token.NewFileSet(), file.path, file.text, parser.ParseComments|parser.PackageClauseOnly)
		require.NoError(t, err)
		documented[room] = documented[room] || parsed.Doc != nil
	}
	rooms := make([]string, 0, len(documented))
	for room := range documented {
		rooms = append(rooms, room)
	}
	slices.Sort(rooms)
	for _, room := range rooms {
		require.True(t, documented[room], "room %s has no package comment", room)
	}
}

func TestNothingIsLeftUnfinished(t *testing.T) {
	unfinished := []string{"TO" + "DO", "FIX" + "ME", "XX" + "X"}
	for _, file := range goFiles(t, true) {
		for _, word := range unfinished {
			require.NotContains(t, file.text, word, file.path)
		}
	}
}
