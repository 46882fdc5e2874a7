package examples

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/kmod/arena"
	"github.com/shmheap/shmheap/kmod/bpf"
)

// TestEvents: the kernel writes into the heap, and another process reads there. tests/kernel sees to it that there are
// arenas where they are promised.
func TestEvents(t *testing.T) {
	h, err := heap.CreateAnonymous(&heap.Options{Size: 4 << 20, MaxCaches: 16, Kernel: arena.New(nil)})
	if errors.Is(err, bpf.ErrUnsupported) {
		shmtest.SkipAnywhere(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	dir := t.TempDir()
	binary := filepath.Join(dir, "events")
	run(t, nil, "go", "build", "-o", binary, "github.com/shmheap/shmheap/examples/events")
	env := append(os.Environ(), "SHMHEAP_DIR="+filepath.Join(dir, "heaps"))
	cmd := exec.Command(binary, "record")
	cmd.Env = env
	recorder := shmtest.StartCommand(t, cmd)
	recorder.Want("recording")
	run(t, nil, "true")
	if got := run(t, env, binary, "show"); !strings.Contains(got, " true\n") || !strings.Contains(got, " events\n") {
		t.Errorf("it shows %q", got)
	}
	recorder.Signal(os.Interrupt)
	recorder.Succeed()
	run(t, env, binary, "remove")
}
