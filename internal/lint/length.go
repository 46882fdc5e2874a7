package lint

import (
	"go/ast"
	"go/token"
	"slices"
)

const (
	maxLines    = 80 // of any function
	longLines   = 30 // a function over this counts as long
	longPercent = 10 // of a package's functions may be long
	fewFuncs    = 20 // a package with no more functions than this may have any share of long ones
	goodMedian  = 12 // lines; a package above gets a note and not a problem
)

// A function is a declaration in a file, with its length from "func" to the closing brace.
type function struct {
	name  string
	pos   token.Pos
	lines int
}

func functions(s source) []function {
	var found []function
	for _, decl := range s.ast.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Body != nil {
			found = append(found, function{f.Name.Name, f.Pos(), s.line(f.End()) - s.line(f.Pos()) + 1})
		}
	}
	return found
}

// functionLength refuses any function, tests included, that does not fit on a screen.
func functionLength(t *tree) []problem {
	var problems []problem
	for _, s := range t.sources {
		for _, f := range functions(s) {
			if f.lines > maxLines {
				problems = append(problems, s.problem(f.pos, "%s has %d lines, more than %d", f.name, f.lines, maxLines))
			}
		}
	}
	return problems
}

// longShare refuses packages that consist of long functions. It names every long one, to choose
// from. Tests do not count: their tables are data.
func longShare(t *tree) []problem {
	var problems []problem
	for _, sources := range t.packages() {
		var long []problem
		total := 0
		for _, s := range withoutTests(sources) {
			for _, f := range functions(s) {
				total++
				if f.lines > longLines {
					long = append(long, s.problem(f.pos, "%s has %d lines, and more than %d %% of its package's functions have over %d",
						f.name, f.lines, longPercent, longLines))
				}
			}
		}
		if total > fewFuncs && len(long)*100 > total*longPercent {
			problems = append(problems, long...)
		}
	}
	return problems
}

func withoutTests(sources []source) []source {
	return slices.DeleteFunc(slices.Clone(sources), source.isTest)
}

// median returns the middle length of the package's functions outside tests, 0 if there are none.
func median(sources []source) int {
	var lines []int
	for _, s := range withoutTests(sources) {
		for _, f := range functions(s) {
			lines = append(lines, f.lines)
		}
	}
	if len(lines) == 0 {
		return 0
	}
	slices.Sort(lines)
	return lines[len(lines)/2]
}
