package lint

import (
	"go/ast"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// shared are the packages at the bottom that more than one layer builds on.
var shared = []string{"internal/invariants", "internal/crashpoint", "internal/mem", "internal/sys"}

// belowPublic are all packages that a package on top of the public ones may import.
var belowPublic = with(shared, "internal/layout", "probe", "heap", "alloc", "queue", "lock", "kmod", "kmod/bpf", "kmod/arena")

// mayImport lists, for each package and the packages under it, which packages of the module it may
// import besides those. A package that the table lacks may import nothing and must be added.
var mayImport = map[string][]string{
	"internal/invariants": nil,
	"internal/lint":       nil,
	"internal/mem":        {"internal/invariants"},
	"internal/layout":     {"internal/invariants", "internal/mem"},
	"internal/sys":        {"internal/invariants", "internal/mem"},
	"internal/crashpoint": {"internal/sys"},
	"internal/goroutine":  nil,
	"internal/handshake":  nil,
	"internal/stamp":      nil,
	"internal/launch":     with(shared, "internal/handshake", "internal/stamp", "probe"),
	"probe":               with(shared, "internal/handshake", "internal/stamp"),
	"heap":                with(shared, "internal/layout", "internal/launch", "probe"),
	"alloc":               with(shared, "internal/goroutine", "internal/layout", "probe", "heap"),
	"queue":               with(shared, "internal/layout", "probe", "heap", "alloc"),
	"lock":                with(shared, "internal/layout", "heap"),
	"kmod":                with(shared, "internal/layout", "probe", "heap", "alloc", "queue"),
	"kmod/bpf":            with(shared),
	"kmod/arena":          with(shared, "internal/layout", "probe", "heap", "alloc", "queue", "kmod/bpf"),
	"internal/shmtest":    belowPublic,
	"internal/guest":      {"internal/sys"},
	"internal/guest/lab":  {"internal/guest", "internal/shmtest"},
	"internal/demo":       {"heap", "alloc"},
	"internal/bench":      belowPublic,
	"internal/queuebench": belowPublic,
	"cmd":                 with(belowPublic, "internal/bench", "internal/queuebench", "internal/demo", "internal/launch", "internal/stamp"),
	"tests":               with(belowPublic, "internal/handshake", "internal/stamp"),
	// An example shows what a user of the module can write.
	"examples": {"probe", "heap", "alloc", "queue", "lock", "kmod", "kmod/bpf", "kmod/arena"},
}

// forTests are packages that any test file may import, and no other file but those of packages in the table.
var forTests = []string{"internal/shmtest", "internal/guest", "internal/guest/lab"}

// with returns a new list of all names.
func with(names []string, more ...string) []string { return slices.Concat(names, more) }

// layer returns the key of mayImport that covers the package, or "".
func layer(pkg string) string {
	found := ""
	for _, key := range slices.Sorted(maps.Keys(mayImport)) {
		if (pkg == key || strings.HasPrefix(pkg, key+"/")) && len(key) > len(found) {
			found = key
		}
	}
	return found
}

// importPath returns the path without quotes. The parser has checked the literal.
func importPath(spec *ast.ImportSpec) string {
	unquoted, _ := strconv.Unquote(spec.Path.Value)
	return unquoted
}

// importsDown keeps the layers apart: a package imports those below it only. Test files follow the
// table too, so that a package's tests need nothing above it.
func importsDown(t *tree) []problem {
	var problems []problem
	for _, s := range t.sources {
		for _, spec := range s.ast.Imports {
			imported, ours := strings.CutPrefix(importPath(spec), module+"/")
			if ours && !allowed(s, imported) {
				problems = append(problems, s.problem(spec.Pos(),
					"%s must not import %s (table in internal/lint/imports.go)", s.pkg(), imported))
			}
		}
	}
	return problems
}

// isExample reports whether the file holds examples of a package, which are written as its users write.
func isExample(s source) bool {
	return strings.HasPrefix(path.Base(s.path), "example_") && s.isTest() && strings.HasSuffix(s.ast.Name.Name, "_test")
}

func allowed(s source, imported string) bool {
	from, to := layer(s.pkg()), layer(imported)
	if isExample(s) {
		from = "examples"
	}
	switch {
	case to == "":
		return false
	case from == to || slices.Contains(mayImport[from], to):
		return true
	}
	return slices.Contains(forTests, to) && s.isTest()
}

// onTop are packages that no user of the module imports.
var onTop = []string{"cmd", "tests", "internal/demo", "internal/shmtest", "internal/guest", "internal/guest/lab"}

// dependencies keeps the packages that users import free of modules of others, which only serve the
// command, the demonstration and the tests. The exception is golang.org/x/sys, which internal/sys
// alone imports, so that every system call of the module can be found in one place; package syscall
// is left to the same and, for the names of signals, to the packages on top.
func dependencies(t *tree) []problem {
	var problems []problem
	for _, s := range t.sources {
		for _, spec := range s.ast.Imports {
			if why := refuse(s, importPath(spec)); why != "" {
				problems = append(problems, s.problem(spec.Pos(), "import of %s: %s", importPath(spec), why))
			}
		}
	}
	return problems
}

// refuse says why the file must not import the path, or returns "".
func refuse(s source, imported string) string {
	free := s.isTest() || slices.Contains(onTop, layer(s.pkg()))
	host, _, _ := strings.Cut(imported, "/")
	xsys := strings.HasPrefix(imported, "golang.org/x/sys/")
	switch {
	case s.pkg() == "internal/sys" && (xsys || imported == "syscall"):
		return ""
	case xsys || imported == "syscall" && !free:
		return "only internal/sys makes system calls"
	case strings.Contains(host, ".") && !strings.HasPrefix(imported, module) && !free:
		return "third-party packages are for cmd, internal/demo and tests"
	}
	return ""
}
