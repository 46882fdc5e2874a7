// Package kernel tests heaps that the kernel keeps: that they are heaps like others, and what the kernel does in them.
package kernel

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/shmtest/conform"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/kmod/arena"
	"github.com/shmheap/shmheap/kmod/bpf"
)

// programs are what the tests run in processes of their own. Each file adds its own.
var programs = map[string]func() error{}

var (
	inFiles = conform.Backend{Name: "file"}
	inMemfd = conform.Backend{Name: "memfd", Anonymous: true}
	inArena = conform.Backend{Name: "arena", Kernel: arenaFrom}
	// Handed over by descriptors, as to processes without privilege.
	inArenaByFile = conform.Backend{Name: "arena by descriptor", Anonymous: true, Kernel: arenaFrom, Descriptors: arenaDescriptors}
)

func TestMain(m *testing.M) { conform.Main(m, programs, inFiles, inMemfd, inArena, inArenaByFile) }

func arenaFrom(received []*os.File) heap.Kernel {
	var o arena.Options
	if len(received) == 2 {
		o.File, o.FreeFile = received[0], received[1]
	}
	return arena.New(&o)
}

func arenaDescriptors(h *heap.Heap) ([]*os.File, error) {
	f, err := h.KernelFile()
	if err != nil {
		return nil, err
	}
	r, err := arena.Of(h)
	if err != nil {
		return nil, err
	}
	free, err := r.FreeFile()
	if err != nil {
		return nil, err
	}
	free, err = sys.Duplicate(free)
	return []*os.File{f, free}, err
}

// needArena skips the test where there can be no arenas.
func needArena(t testing.TB) {
	t.Helper()
	h, err := heap.CreateAnonymous(&heap.Options{Size: 4 << 20, MaxCaches: 16, Kernel: arena.New(nil)})
	if err == nil {
		err = h.Close()
	}
	if !errors.Is(err, bpf.ErrUnsupported) {
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	v, _ := sys.KernelVersion()
	if runtime.GOOS == "linux" && v.AtLeast(6, 9) && os.Geteuid() == 0 {
		shmtest.Skip(t, err.Error(), "test with CAP_BPF and CAP_PERFMON")
	}
	shmtest.SkipAnywhere(t, err.Error())
}

func TestFile(t *testing.T) { conform.Run(t, inFiles) }

func TestMemfd(t *testing.T) {
	h, err := heap.CreateAnonymous(nil)
	if errors.Is(err, errors.ErrUnsupported) {
		shmtest.SkipAnywhere(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	conform.Run(t, inMemfd)
}

func TestArena(t *testing.T) {
	needArena(t)
	conform.Run(t, inArena)
}

func TestArenaByDescriptor(t *testing.T) {
	needArena(t)
	conform.Run(t, inArenaByFile)
}
