package lint

import (
	"strings"
	"testing"
)

// imports returns a file that imports the paths on the lines from 2 on. A path that begins with a
// slash is the module's.
func imports(paths ...string) string {
	var b strings.Builder
	b.WriteString("package p\n")
	for _, p := range paths {
		if strings.HasPrefix(p, "/") {
			p = module + p
		}
		b.WriteString("import _ \"" + p + "\"\n")
	}
	return b.String()
}

func TestImportsDown(t *testing.T) {
	verify(t, importsDown, []example{
		{"alloc/a.go", imports("os", "/heap", "/probe", "/internal/layout", "/internal/sys"), nil},
		{"cmd/shmheap/a.go", imports("/alloc", "/queue", "/internal/demo", "/cmd/shmheap/sub"), nil},
		{"heap/a.go", imports("/probe", "/alloc"), []string{"heap/a.go:3: heap must not import alloc"}},
		{"heap/a_test.go", imports("/alloc"), []string{"heap/a_test.go:2: "}},
		{"internal/mem/a.go", imports("/internal/layout"), []string{"internal/mem/a.go:2: "}},
		{"internal/layout/a.go", imports("/internal/mem", "/internal/sys"), []string{"internal/layout/a.go:3: "}},
		{"probe/a.go", imports("/internal/sys", "/internal/layout"), []string{"probe/a.go:3: "}},
		{"internal/demo/a.go", imports("/alloc", "/heap"), nil},
		{"alloc/a.go", imports("/internal/demo"), []string{"alloc/a.go:2: "}},
		{"tests/a_test.go", imports("/heap", "/cmd/shmheap"), []string{"tests/a_test.go:3: "}},
		{"heap/a.go", imports("/tests"), []string{"heap/a.go:2: "}},
		{"queue/a.go", imports("/kmod"), []string{"queue/a.go:2: "}},
		{"examples/hello/main.go", imports("/alloc", "/internal/mem"), []string{"examples/hello/main.go:3: "}},
		{"lock/example_test.go", strings.Replace(imports("/alloc", "/internal/mem"), "package p", "package p_test", 1), []string{"lock/example_test.go:3: "}},
		{"lock/example_test.go", imports("/alloc"), []string{"lock/example_test.go:2: "}},
		{"novel/a.go", imports("/heap"), []string{"novel/a.go:2: novel must not import heap"}},
		{"heap/a.go", imports("/novel"), []string{"heap/a.go:2: "}},
	})
}

func TestShmtestIsForTests(t *testing.T) {
	verify(t, importsDown, []example{
		{"internal/mem/a_test.go", imports("/internal/shmtest"), nil},
		{"internal/shmtest/a.go", imports("/internal/shmtest/sub", "/alloc"), nil},
		{"tests/a.go", imports("/internal/shmtest"), []string{"tests/a.go:2: "}},
		{"heap/a.go", imports("/internal/shmtest"), []string{"heap/a.go:2: heap must not import internal/shmtest"}},
	})
}

// TestLayersAreInTheTable holds the table to packages that it names itself.
func TestLayersAreInTheTable(t *testing.T) {
	for from, list := range mayImport {
		for _, to := range list {
			if layer(to) != to {
				t.Errorf("%s may import %s, which is not in the table", from, to)
			}
		}
	}
}

func TestDependencies(t *testing.T) {
	const cobra, sys = "github.com/spf13/cobra", "golang.org/x/sys/unix"
	verify(t, dependencies, []example{
		{"cmd/shmheap/a.go", imports(cobra, "golang.org/x/term"), nil},
		{"heap/a_test.go", imports(cobra), nil},
		{"internal/shmtest/a.go", imports(cobra), nil},
		{"heap/a.go", imports("go/ast", "/probe"), nil},
		{"heap/a.go", imports("os", cobra), []string{"heap/a.go:3: import of " + cobra + ": third-party"}},
		{"internal/sys/a_linux.go", imports(sys), nil},
		{"internal/sys/a_linux.go", imports(cobra), []string{"internal/sys/a_linux.go:2: "}},
		{"cmd/shmheap/a.go", imports(sys), []string{"cmd/shmheap/a.go:2: import of " + sys + ": only internal/sys"}},
		{"internal/sys/a.go", imports("syscall"), nil},
		{"cmd/shmheap/a.go", imports("syscall"), nil},
		{"heap/a_test.go", imports("syscall"), nil},
		{"heap/a.go", imports("syscall"), []string{"heap/a.go:2: import of syscall: only internal/sys"}},
		{"probe/a_test.go", imports(sys), []string{"probe/a_test.go:2: "}},
	})
}
