package lint

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// funcs returns a file with one function of each length, at least 2 lines.
func funcs(lengths ...int) string {
	var b strings.Builder
	b.WriteString("package p\n")
	for i, n := range lengths {
		fmt.Fprintf(&b, "func f%d() {%s}\n", i, strings.Repeat("\n", n-1))
	}
	return b.String()
}

func TestFunctionLength(t *testing.T) {
	verify(t, functionLength, []example{
		{"heap/a.go", funcs(80), nil},
		{"heap/a.go", funcs(2, 81), []string{"heap/a.go:4: f1 has 81 lines, more than 80"}},
		{"heap/a_test.go", funcs(81), []string{"heap/a_test.go:2: "}},
	})
}

// TestLongShare spreads a package of 21 functions, two or three of them long, over two files.
func TestLongShare(t *testing.T) {
	short := text{"heap/b.go", funcs(slices.Repeat([]int{5}, 18)...)}
	three := []string{"heap/a.go:2: f0 has 31 lines", "heap/a.go:33: ", "heap/a.go:64: "}
	tests := []struct {
		long text
		want []string
	}{
		{text{"heap/a.go", funcs(31, 31, 31)}, three},
		{text{"heap/a.go", funcs(31, 31, 30)}, nil},
		{text{"heap/a_test.go", funcs(31, 31, 31)}, nil},
		{text{"probe/a.go", funcs(31, 31, 31)}, nil}, // Only 3 functions.
	}
	for _, test := range tests {
		wantProblems(t, longShare, []text{test.long, short}, test.want)
	}
}

func TestMedian(t *testing.T) {
	tree, err := newTree([]text{{"heap/a.go", funcs(2, 40, 9)}, {"heap/a_test.go", funcs(50, 50, 50)}})
	if err != nil {
		t.Fatal(err)
	}
	if m := median(tree.packages()["heap"]); m != 9 {
		t.Errorf("median %d, want 9", m)
	}
	if m := median(nil); m != 0 {
		t.Errorf("median of nothing %d, want 0", m)
	}
}
