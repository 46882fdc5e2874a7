package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// build builds an example and returns a function that runs it with the same heaps each time.
func build(t *testing.T, name string) func(args ...string) string {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, name)
	run(t, nil, "go", "build", "-o", binary, "github.com/shmheap/shmheap/examples/"+name)
	env := append(os.Environ(), "SHMHEAP_DIR="+filepath.Join(dir, "heaps"))
	return func(args ...string) string {
		t.Helper()
		return run(t, env, binary, args...)
	}
}

func run(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = env
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, said.String())
	}
	return string(out)
}

// TestList: each call is a process, and sees what those before it stored.
func TestList(t *testing.T) {
	list := build(t, "list")
	list("add", "apples", "pears")
	list("add", "plums")
	if got := list("show"); got != "plums\npears\napples\n" {
		t.Errorf("the list is %q", got)
	}
	list("remove")
	if got := list("show"); got != "" {
		t.Errorf("a new list is %q", got)
	}
}

// TestWorkers: no job is lost or done twice when a worker is killed.
func TestWorkers(t *testing.T) {
	if got := build(t, "workers")(); got != "200 jobs, each done once, though a worker was killed\n" {
		t.Errorf("it says %q", got)
	}
}

// TestCache: processes that are killed with the lock and without lose no item and no block.
func TestCache(t *testing.T) {
	got := build(t, "cache")()
	if !strings.HasPrefix(got, "64 processes were killed, ") || !strings.HasSuffix(got, "\nevery block is accounted for\n") {
		t.Errorf("it says %q", got)
	}
}

// TestPrices: programs in Python and C read what Go stored.
func TestPrices(t *testing.T) {
	file := strings.TrimSpace(build(t, "prices")())
	const want = "apples 102\npears 101\nplums 100\n"
	t.Run("python", func(t *testing.T) {
		need(t, "python3", "python3")
		if got := run(t, nil, "python3", "../../examples/prices/readers/reader.py", file); got != want {
			t.Errorf("it reads %q", got)
		}
	})
	t.Run("c", func(t *testing.T) {
		need(t, "cc", "gcc")
		reader := filepath.Join(t.TempDir(), "reader")
		run(t, nil, "cc", "-Wall", "-Wextra", "-Werror", "-o", reader, "../../examples/prices/readers/reader.c")
		if got := run(t, nil, reader, file); got != want {
			t.Errorf("it reads %q", got)
		}
	})
}

func need(t *testing.T, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		shmtest.Skip(t, err.Error(), "install "+pkg)
	}
}
