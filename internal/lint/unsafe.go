package lint

import (
	"regexp"
	"slices"
	"strings"
)

// unsafeName matches x_unsafe.go and, because the go command wants the system and the processor
// last, x_unsafe_linux.go and x_unsafe_linux_arm64.go.
var unsafeName = regexp.MustCompile(`(^|/|_)unsafe(_(linux|darwin|freebsd|other|unix))?(_(amd64|arm64|riscv64))?(_test)?\.go$`)

// unsafePackages may hold unsafe code outside tests.
var unsafePackages = []string{"internal/mem", "internal/sys", "alloc", "queue", "internal/bench"}

// unsafeFiles makes the code that can break memory safety easy to find and hard to add to: it lives
// in files of that name, in four packages and in the benchmarks, which do to blocks what users do. Tests of internal/layout may use unsafe anywhere, for
// Sizeof and Offsetof.
func unsafeFiles(t *tree) []problem {
	var problems []problem
	for _, s := range t.sources {
		for _, spec := range s.ast.Imports {
			if importPath(spec) == "unsafe" && !unsafeAllowed(s) {
				problems = append(problems, s.problem(spec.Pos(),
					"unsafe belongs in *_unsafe.go of %s, and in *_unsafe_test.go", strings.Join(unsafePackages, ", ")))
			}
		}
	}
	return problems
}

func unsafeAllowed(s source) bool {
	if s.isTest() {
		return s.pkg() == "internal/layout" || unsafeName.MatchString(s.path)
	}
	return slices.Contains(unsafePackages, s.pkg()) && unsafeName.MatchString(s.path)
}

// cgo refuses C code and symbols of other packages: both would end "a Go compiler is enough", and
// the second breaks with new Go releases.
func cgo(t *tree) []problem {
	var problems []problem
	for _, s := range t.sources {
		for _, spec := range s.ast.Imports {
			if importPath(spec) == "C" {
				problems = append(problems, s.problem(spec.Pos(), "no cgo in this module"))
			}
		}
		for _, group := range s.ast.Comments {
			for _, c := range group.List {
				if strings.HasPrefix(c.Text, "//go:linkname") {
					problems = append(problems, s.problem(c.Pos(), "no go:linkname in this module"))
				}
			}
		}
	}
	return problems
}
