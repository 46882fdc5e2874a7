package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// workload is a heap in which a process works.
type workload struct {
	t      *testing.T
	dir    string
	worker *exec.Cmd
}

// newWorkload makes the heap "orders" and a process that works in it, which is killed when the test ends.
func newWorkload(t *testing.T) *workload {
	t.Helper()
	w := &workload{t: t, dir: filepath.Join(t.TempDir(), "heaps")}
	if out, err := w.shmheap("init", "orders", "--size", "64MiB").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w.worker = exec.Command(self)
	w.worker.Args = []string{"churn", "orders"}
	w.worker.Env, w.worker.Stderr = w.env(), os.Stderr
	if err := w.worker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.kill)
	w.until("the worker has attached", func() bool {
		info, err := heap.Stat("orders", &heap.Options{Dir: w.dir})
		return err == nil && info.Peers == 1
	})
	return w
}

func (w *workload) env() []string {
	return append(os.Environ(), "SHMHEAP_DIR="+w.dir, "LC_ALL=C.UTF-8")
}

// shmheap returns the command with these arguments.
func (w *workload) shmheap(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(program, "shmheap"), args...)
	cmd.Env = w.env()
	return cmd
}

// kill kills the worker. Doing it again does no harm.
func (w *workload) kill() {
	_ = w.worker.Process.Kill()
	_ = w.worker.Wait()
}

func (w *workload) until(what string, condition func() bool) {
	w.t.Helper()
	for end := time.Now().Add(shmtest.Patience); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%s: not within %v", what, shmtest.Patience)
		}
	}
}
