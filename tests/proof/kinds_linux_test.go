//go:build !crashpoint && !shmheap_portable

package proof

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// A kind is a sort of program that attaches.
type kind struct {
	name  string
	build func(t *testing.T) []string // returns the command line
	limit int                         // KiB of addresses with which it starts and cannot attach, 0 if there is no such number
	alone bool                        // in the plain environment only
}

// The limits. A Go program of 1.26 reserves some 700 MiB for tables before main.
const (
	smallLimit = 300_000
	goLimit    = 2_000_000
)

func (k kind) environments() []environment {
	if k.alone {
		return []environment{plain, occupied}
	}
	all := append(layouts[:len(layouts):len(layouts)], occupied)
	if k.limit > 0 {
		all = append(all, limited(k.limit))
	}
	return all
}

func kinds() []kind {
	return []kind{
		{name: "Go static", build: goProgram("", "CGO_ENABLED=0"), limit: goLimit},
		{name: "Go PIE", build: goProgram("", "CGO_ENABLED=0", "-buildmode=pie"), limit: goLimit},
		{name: "Go cgo", build: goProgram("gcc", "CGO_ENABLED=1"), limit: goLimit},
		{name: "Go cgo PIE", build: goProgram("gcc", "CGO_ENABLED=1", "-buildmode=pie"), limit: goLimit},
		{name: "Go -race", build: goProgram("gcc", "CGO_ENABLED=1", "-race")},
		{name: "Go -asan", build: goProgram("gcc", "CGO_ENABLED=1", "-asan")},
		{name: "Go -msan", build: goProgram("clang", "CGO_ENABLED=1", "-msan")},

		{name: "C PIE", build: cProgram("gcc", "-fPIE", "-pie"), limit: smallLimit},
		{name: "C no PIE", build: cProgram("gcc", "-no-pie"), limit: smallLimit},
		{name: "C static", build: cProgram("gcc", "-static", "-no-pie"), limit: smallLimit},
		{name: "C static PIE", build: cProgram("gcc", "-fPIE", "-static-pie"), limit: smallLimit},
		{name: "C gcc ASan", build: cProgram("gcc", "-fsanitize=address")},
		{name: "C gcc TSan", build: cProgram("gcc", "-fsanitize=thread")},
		{name: "C clang ASan", build: cProgram("clang", "-fsanitize=address")},
		{name: "C clang TSan", build: cProgram("clang", "-fsanitize=thread")},
		{name: "C clang MSan", build: cProgram("clang", "-fsanitize=memory")},
		{name: "C valgrind", build: valgrind, alone: true},

		{name: "python", build: preloaded(python), limit: smallLimit},
		{name: "python, loaded late", build: pythonLate, limit: smallLimit},
		{name: "perl", build: preloaded(perl), limit: smallLimit},
		{name: "node", build: preloaded(node)},
		{name: "java G1", build: preloaded(java("-XX:+UseG1GC"))},
		{name: "java Serial", build: preloaded(java("-XX:+UseSerialGC"))},
		{name: "java ZGC", build: preloaded(java("-XX:+UseZGC")), alone: true},
	}
}

func valgrind(t *testing.T) []string {
	path := need(t, "valgrind", "install valgrind")
	return append([]string{path, "-q", "--error-exitcode=99"}, cProgram("gcc", "-fPIE", "-pie")(t)...)
}

// preloaded makes a command attach by a library that is loaded into it when it starts.
func preloaded(command func(*testing.T) []string) func(*testing.T) []string {
	return func(t *testing.T) []string {
		args := command(t)
		return append([]string{"env", "LD_PRELOAD=" + library(t)}, args...)
	}
}

// pythonChurn allocates 100 MB and leaves garbage behind.
const pythonChurn = `
kept = [b"x" * (10 << 20) for _ in range(10)]
for _ in range(20):
    garbage = [bytearray(1 << 16) for _ in range(100)]
`

// interpreter returns the interpreter itself: what is found first may be a script that chooses one, into
// which the library is not to be loaded.
func interpreter(t *testing.T) string {
	t.Helper()
	return output(t, exec.Command(need(t, "python3", "install python3"), "-c", "import sys; print(sys.executable)"))
}

func python(t *testing.T) []string { return []string{interpreter(t), "-c", pythonChurn} }

// pythonLate loads the library when the program has been running and allocating for a while.
func pythonLate(t *testing.T) []string {
	return []string{interpreter(t), "-c", pythonChurn + "import ctypes, sys; ctypes.CDLL(sys.argv[1])" + pythonChurn, library(t)}
}

func perl(t *testing.T) []string {
	return []string{need(t, "perl", "install perl"), "-e",
		`my @kept = map { "x" x (10 << 20) } 1..10; for (1..20) { my @garbage = map { "y" x 65536 } 1..100 }`}
}

func node(t *testing.T) []string {
	return []string{need(t, "node", "install nodejs"), "-e", `
const kept = [];
for (let i = 0; i < 10; i++) {
	kept.push(Buffer.alloc(10 << 20, 1), Array.from({length: 1e5}, (_, j) => ({j})));
}
new (require("worker_threads").Worker)("Array.from({length: 1e5}, (_, j) => ({j}))", {eval: true});`}
}

func java(collector string) func(t *testing.T) []string {
	return func(t *testing.T) []string {
		const install = "install default-jdk-headless"
		runtime, compiler := need(t, "java", install), need(t, "javac", install)
		classes := t.TempDir()
		output(t, exec.Command(compiler, "-d", classes, filepath.Join("testdata", "Churn.java")))
		return []string{runtime, collector, "-Xmx256m", "-cp", classes, "Churn"}
	}
}
