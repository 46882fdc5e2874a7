package launch

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// heapDir returns a private directory on a file system that holds files of 16 TiB.
func heapDir(t *testing.T) string {
	t.Helper()
	const shm = "/dev/shm"
	if _, err := os.Stat(shm); err != nil {
		shmtest.Skip(t, "no "+shm, "mount a tmpfs there")
	}
	dir, err := os.MkdirTemp(shm, "shmheap-launch-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "heaps")
}

// makeHeap makes a heap at a base, which is reserved for its maker too.
func makeHeap(t *testing.T, dir, name, base, size string) {
	t.Helper()
	shmheap := program("shmheap")
	start(t, shmheap, "run", "--base", base, "--size", size, "--require", "--",
		shmheap, "init", name, "--dir", dir, "--base", base, "--size", size).want(t, 0, "")
}

// TestStartAgain: a joiner whose base is taken helps itself, where it may.
func TestStartAgain(t *testing.T) {
	dir := heapDir(t)
	makeHeap(t, dir, "orders", base, tib)
	t.Setenv("SHMHEAP_DIR", dir)
	for _, test := range []struct {
		name string
		min  int // of 40; a start of a PIE fails with probability 0.25^4
	}{{"go-static", starts}, {"go-pie", starts - starts/5}} {
		t.Run(test.name, func(t *testing.T) {
			t.Logf("without: %v", count(t, starts, program(test.name), "heap", "orders"))
			got := count(t, starts, program(test.name), "again", "orders")
			t.Logf("with: %v", got)
			if got["open"] < test.min {
				t.Errorf("%v, want open %d times of %d", got, test.min, starts)
			}
		})
	}
	t.Run("keeps", func(t *testing.T) { testKeeps(t) })
	t.Run("launched", func(t *testing.T) {
		args := []string{program("shmheap"), "run", "orders", "--require", "--", program("go-pie"), "heap", "orders"}
		if got := count(t, starts, args...); got["open"] != starts {
			t.Errorf("%v, want open %d times", got, starts)
		}
	})
	t.Run("launched without ptrace", func(t *testing.T) {
		deny := compile(t, "noptrace.c", "noptrace")
		opened := 0
		for range starts {
			r := start(t, deny, program("shmheap"), "run", "orders", "--", program("go-pie"), "heap", "orders")
			if r.want(t, 0, "warning"); strings.HasPrefix(r.out, "open") {
				opened++
			}
		}
		if opened < starts-starts/5 {
			t.Errorf("open %d times of %d", opened, starts)
		}
	})
}

// testKeeps looks at what is left of a process that started again.
func testKeeps(t *testing.T) {
	for range starts {
		cmd := exec.Command(program("go-static"), "again", "orders", "b c", "")
		cmd.Args[0] = "name of its own"
		cmd.Env = append(os.Environ(), "PROBER_TEST=kept")
		r := finish(t, cmd)
		r.want(t, 0, "")
		if want := fmt.Sprintf("open %d [orders b c ] kept\n", cmd.Process.Pid); r.out != want {
			t.Errorf("%q, want %q", r.out, want)
		}
	}
}

// TestStartAgainGivesUp: what is there at each start is not waited for.
func TestStartAgainGivesUp(t *testing.T) {
	t.Setenv("SHMHEAP_DIR", heapDir(t))
	// The program with a fixed address lies in the middle of it.
	start(t, program("go-pie"), "create", "low", "0x10000", "0x4000000").want(t, 0, "")
	r := start(t, program("go-static"), "again", "low")
	if !strings.HasPrefix(r.out, "taken") || !strings.Contains(r.out, "starting again does not help: ") {
		t.Errorf("%q", r.out)
	}
	// The heap of Go is random, but there is hardly any room outside.
	const base, size = "0x10000000000", "0x3e0000000000"
	start(t, program("shmheap"), "run", "--base", base, "--size", "62TiB", "--require", "--",
		program("go-static"), "create", "wide", base, size).want(t, 0, "")
	for range 5 {
		r := start(t, program("go-pie"), "again", "wide")
		if !strings.HasPrefix(r.out, "open") && !strings.Contains(r.out, "it was tried 3 times") {
			t.Errorf("%q", r.out)
		}
	}
	if r := start(t, program("go-static"), "again", "wide"); !strings.HasPrefix(r.out, "open") {
		t.Errorf("%q", r.out)
	}
}
