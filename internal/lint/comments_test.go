package lint

import "testing"

func TestPackageComments(t *testing.T) {
	const with, without = "// Package p is documented.\npackage p\n", "package p\n"
	const missing = "heap/a.go:1: package heap has no package comment"
	tests := []struct {
		texts []text
		want  []string
	}{
		{[]text{{"heap/a.go", without}, {"heap/doc.go", with}}, nil},
		{[]text{{"heap/a.go", without}}, []string{missing}},
		{[]text{{"heap/a.go", without}, {"probe/doc.go", with}}, []string{missing}},
		{[]text{{"heap/a.go", without}, {"heap/a_test.go", with}}, []string{missing}},
		{[]text{{"heap/a.go", "//go:build linux\npackage p\n"}}, []string{"heap/a.go:2: "}},
		{[]text{{"tests/a_test.go", with}}, nil},
		{[]text{{"tests/a_test.go", without}}, []string{"tests/a_test.go:1: "}},
	}
	for _, test := range tests {
		wantProblems(t, packageComments, test.texts, test.want)
	}
}

func TestDocComments(t *testing.T) {
	const head = "package p\n"
	missing := func(what string) []string { return []string{"heap/a.go:2: exported " + what + " has no doc comment"} }
	verify(t, docComments, []example{
		{"heap/a.go", head + "// F does.\nfunc F() {}\nfunc f() {}\nfunc (x t) F() {}\n", nil},
		{"heap/a.go", head + "func F() {}\n", missing("function F")},
		{"heap/a.go", head + "func (x *T[K, V]) F() {}\n", missing("function F")},
		{"heap/a.go", head + "//go:noinline\nfunc F() {}\n", []string{"heap/a.go:3: "}},
		{"heap/a.go", head + "type T int\n", missing("type T")},
		{"heap/a.go", head + "type t struct{ A int }\n", nil},
		{"heap/a.go", head + "const A, b = 1, 2\n", missing("const A")},
		{"heap/a.go", head + "var A = 1 // A is one.\n", nil},
		{"heap/a.go", head + "// Errors.\nvar (\n\tA = 1\n\tB = 2\n)\n", nil},
		{"heap/a.go", head + "var (\n\t// A is one.\n\tA = 1\n\tB = 2\n)\n", []string{"heap/a.go:5: exported var B"}},
		{"internal/mem/a.go", head + "func F() {}\n", nil},
		{"cmd/x/internal/y/a.go", head + "func F() {}\n", nil},
		{"heap/a_test.go", head + "func F() {}\n", nil},
		{"cmd/shmheap/a.go", "package main\nfunc F() {}\n", nil},
	})
}

func TestDocCommentsOfMembers(t *testing.T) {
	const head = "package p\n// T holds A.\n"
	verify(t, docComments, []example{
		{"heap/a.go", head + "type T struct {\n\tA int\n\tB int // B is two.\n\tc int\n\tEmbedded\n}\n", nil},
		{"heap/a.go", head + "type T struct {\n\tA int\n\tB int\n}\n", []string{"heap/a.go:5: exported T member B"}},
		{"heap/a.go", head + "type T interface {\n\tA()\n\tB()\n}\n", []string{"heap/a.go:5: exported T member B"}},
	})
}
