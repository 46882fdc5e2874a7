package lint

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// root is the repository's root, seen from this package.
const root = "../.."

// TestTree checks the repository against every rule.
func TestTree(t *testing.T) {
	tree, err := load(root)
	if errors.Is(err, errNoList) {
		shmtest.Skip(t, err.Error(), "install git and test a clone")
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, p := range sorted(r.check(tree)) {
				t.Error(p)
			}
		})
	}
	for pkg, sources := range tree.packages() {
		if m := median(sources); m > goodMedian {
			t.Logf("note: %s: the median function has %d lines, more than %d", pkg, m, goodMedian)
		}
	}
}

func sorted(problems []problem) []problem {
	slices.SortFunc(problems, func(a, b problem) int { return strings.Compare(a.String(), b.String()) })
	return problems
}

// An example is a file and what a rule has to say about it: a problem a line, or nothing.
type example struct {
	path, content string
	want          []string
}

// verify applies the rule to each example alone.
func verify(t *testing.T, check func(*tree) []problem, examples []example) {
	t.Helper()
	for _, e := range examples {
		wantProblems(t, check, []text{{e.path, e.content}}, e.want)
	}
}

// wantProblems compares what the rule says about the texts with the beginnings in want.
func wantProblems(t *testing.T, check func(*tree) []problem, texts []text, want []string) {
	t.Helper()
	tree, err := newTree(texts)
	if err != nil {
		t.Fatal(err)
	}
	got := sorted(check(tree))
	same := slices.EqualFunc(got, want, func(p problem, s string) bool {
		return strings.HasPrefix(p.String(), s)
	})
	if !same {
		t.Errorf("%s: %.200q\ngot  %q\nwant %q", texts[0].path, texts[0].content, got, want)
	}
}
