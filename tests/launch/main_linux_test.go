package launch

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// The range of most tests: 16 TiB of the 64 TiB in which Go on amd64 places its heap at random.
const (
	base = "0x100000000000"
	size = "0x100000000000"
	tib  = "16TiB" // the same
)

// starts is how often a program is started that must succeed each time. Without a reservation 40 starts
// in a row succeed once in 100,000 times (0.75^40). Short tests are for emulators, where ten are enough to
// see that the launcher works at all.
var starts = 40

// bin is the directory of the programs that the tests run.
var bin string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	if flag.Parse(); testing.Short() {
		starts = 10
	}
	if bin = shmtest.Programs(); bin != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "shmheap-launch-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	const module = "github.com/shmheap/shmheap/"
	for _, args := range [][]string{
		{"-o", filepath.Join(dir, "shmheap"), module + "cmd/shmheap"},
		{"-o", filepath.Join(dir, "go-static"), module + "tests/launch/prober"},
		{"-buildmode=pie", "-o", filepath.Join(dir, "go-pie"), module + "tests/launch/prober"},
	} {
		cmd := exec.Command("go", append([]string{"build"}, args...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v: %v\n%s", cmd, err, out)
			return 1
		}
	}
	return m.Run()
}

// program returns the path of a built program.
func program(name string) string { return filepath.Join(bin, name) }

// compile builds a C program of testdata.
func compile(t *testing.T, source, name string, flags ...string) string {
	t.Helper()
	if shmtest.Programs() != "" {
		return program(name)
	}
	cc, err := exec.LookPath("cc")
	if err != nil {
		shmtest.Skip(t, "no C compiler", "install gcc or clang")
	}
	out := filepath.Join(t.TempDir(), name)
	args := append([]string{"-O1", "-Wall", "-Wextra", "-o", out, filepath.Join("testdata", source)}, flags...)
	if text, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		t.Fatalf("cc %v: %v\n%s", args, err, text)
	}
	return out
}

// cKinds are the ways to link a C program.
var cKinds = map[string][]string{
	"no-pie": {"-no-pie"}, "pie": {"-fPIE", "-pie"}, "static": {"-static", "-no-pie"}, "static-pie": {"-fPIE", "-static-pie"},
}

// result is how a command ended.
type result struct {
	out, err string
	status   int // as a shell shows it
	state    *os.ProcessState
}

// start runs a command to its end.
func start(t *testing.T, args ...string) result {
	t.Helper()
	return finish(t, exec.Command(args[0], args[1:]...))
}

func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return result{out.String(), errOut.String(), cmd.ProcessState.ExitCode(), cmd.ProcessState}
}

// launch returns the command line that runs a program with the range reserved.
func launch(args ...string) []string {
	return append([]string{program("shmheap"), "run", "--base", base, "--size", tib, "--"}, args...)
}

// count runs a command often and counts the first words of what it says.
func count(t *testing.T, n int, args ...string) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	for range n {
		r := start(t, args...)
		if r.status != 0 || r.err != "" {
			t.Fatalf("%v: status %d\n%s%s", args, r.status, r.out, r.err)
		}
		word, _, _ := strings.Cut(strings.TrimSpace(r.out), " ")
		counts[word]++
	}
	return counts
}

// want fails the test unless a command ended with a status and its error output contains a text.
func (r result) want(t *testing.T, status int, errText string) {
	t.Helper()
	if r.status != status || !strings.Contains(r.err, errText) || errText == "" && r.err != "" {
		t.Errorf("status %d, want %d; error output %q, want %q\n%s", r.status, status, r.err, errText, r.out)
	}
}
