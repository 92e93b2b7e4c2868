package cluster_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPublicTypesCanBeNamed: what the exported functions and fields of these packages are made of has a name that a
// user outside this module can write. An internal package's types need an alias.
func TestPublicTypesCanBeNamed(t *testing.T) {
	looked := 0
	for _, directory := range []string{".", "process", "clustertest"} {
		paths, err := filepath.Glob(filepath.Join(directory, "*.go"))
		require.NoError(t, err)
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			require.NoError(t, err)
			for _, declaration := range file.Decls {
				for name, shape := range exported(declaration) {
					looked++
					assert.Empty(t, internals(file, shape), "%s: %s", path, name)
				}
			}
		}
	}
	require.Greater(t, looked, 50)
}

// exported returns what a user sees of a declaration, by name: signatures and the fields of structs.
func exported(declaration ast.Decl) map[string]ast.Node {
	seen := map[string]ast.Node{}
	switch declaration := declaration.(type) {
	case *ast.FuncDecl:
		if declaration.Name.IsExported() && (declaration.Recv == nil || ast.IsExported(receiver(declaration))) {
			seen[declaration.Name.Name] = declaration.Type
		}
	case *ast.GenDecl:
		for _, spec := range declaration.Specs {
			named, ok := spec.(*ast.TypeSpec)
			if !ok || !named.Name.IsExported() {
				continue
			}
			fields, ok := named.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, field := range fields.Fields.List {
				for _, name := range field.Names {
					if name.IsExported() {
						seen[named.Name.Name+"."+name.Name] = field.Type
					}
				}
			}
		}
	}
	return seen
}

// receiver names a method's type.
func receiver(method *ast.FuncDecl) string {
	of := method.Recv.List[0].Type
	if pointer, ok := of.(*ast.StarExpr); ok {
		of = pointer.X
	}
	return of.(*ast.Ident).Name
}

// internals returns the types of internal packages in a shape.
func internals(file *ast.File, shape ast.Node) (found []string) {
	internal := map[string]bool{}
	for _, imported := range file.Imports {
		if path := strings.Trim(imported.Path.Value, `"`); strings.Contains(path, "/internal/") {
			internal[path[strings.LastIndex(path, "/")+1:]] = true
		}
	}
	ast.Inspect(shape, func(node ast.Node) bool {
		if selector, ok := node.(*ast.SelectorExpr); ok {
			if of, ok := selector.X.(*ast.Ident); ok && internal[of.Name] {
				found = append(found, of.Name+"."+selector.Sel.Name)
			}
		}
		return true
	})
	return found
}
