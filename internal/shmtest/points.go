package shmtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"testing"
)

// CrashPoints returns the names of all points that the package in dir passes: the arguments of its
// calls of crashpoint.Hit. So a test that kills at every point finds those that are new.
func CrashPoints(t testing.TB, dir string) (points []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no sources in %s: %v", dir, err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if point, ok := hit(n); ok {
				points = append(points, point)
			}
			return true
		})
	}
	return points
}

// hit returns the name of the point that a node passes. What is no literal has no name that can be
// told from the sources: "".
func hit(n ast.Node) (point string, ok bool) {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) != 1 {
		return "", false
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || f.Sel.Name != "Hit" {
		return "", false
	}
	if pkg, ok := f.X.(*ast.Ident); !ok || pkg.Name != "crashpoint" {
		return "", false
	}
	if literal, ok := call.Args[0].(*ast.BasicLit); ok {
		point, _ = strconv.Unquote(literal.Value)
	}
	return point, true
}
