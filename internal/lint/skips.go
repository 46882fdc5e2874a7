package lint

import (
	"go/ast"
	"slices"
)

// skips makes tests skip through internal/shmtest, where CI turns a skip that must not happen into
// a failure.
func skips(t *tree) []problem {
	var problems []problem
	for _, s := range t.sources {
		if s.pkg() == "internal/shmtest" {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			kind, body := funcParts(n)
			if body == nil {
				return true
			}
			for _, call := range skipCalls(body, testingNames(kind)) {
				problems = append(problems, s.problem(call.Pos(), "skip through shmtest.Skip or shmtest.SkipAnywhere"))
			}
			return true
		})
	}
	return problems
}

func funcParts(n ast.Node) (*ast.FuncType, *ast.BlockStmt) {
	switch n := n.(type) {
	case *ast.FuncDecl:
		return n.Type, n.Body
	case *ast.FuncLit:
		return n.Type, n.Body
	}
	return nil, nil
}

// testingNames returns the parameters whose type comes from package testing. Others have a Skip
// that means something else: rapid's discards one random input.
func testingNames(kind *ast.FuncType) []string {
	var names []string
	for _, field := range kind.Params.List {
		x := field.Type
		if star, ok := x.(*ast.StarExpr); ok {
			x = star.X
		}
		if sel, ok := x.(*ast.SelectorExpr); ok && isName(sel.X, "testing") {
			for _, name := range field.Names {
				names = append(names, name.Name)
			}
		}
	}
	return names
}

// skipCalls returns the uses of a Skip method on one of the names. A function inside the body may
// give a name to a parameter of its own.
func skipCalls(body *ast.BlockStmt, names []string) []ast.Node {
	var calls []ast.Node
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			calls = append(calls, skipCalls(n.Body, hide(names, n.Type.Params.List))...)
			return false
		case *ast.SelectorExpr:
			if isName(n.X, names...) && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, n.Sel.Name) {
				calls = append(calls, n)
			}
		}
		return true
	})
	return calls
}

// hide returns the names that no parameter has.
func hide(names []string, params []*ast.Field) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.ContainsFunc(params, func(p *ast.Field) bool {
			return slices.ContainsFunc(p.Names, func(i *ast.Ident) bool { return i.Name == name })
		})
	})
}

func isName(x ast.Expr, names ...string) bool {
	ident, ok := x.(*ast.Ident)
	return ok && slices.Contains(names, ident.Name)
}
