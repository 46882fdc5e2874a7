package blackbox

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// programs are what the tests run in processes of their own. Each file adds its own.
var programs = map[string]func() error{}

func TestMain(m *testing.M) { shmtest.Main(m, programs) }

// heapName is the name of the one heap of a test.
const heapName = "box"

// newDir returns a directory for heaps that Create makes, on tmpfs where there is one.
func newDir(t testing.TB) string {
	t.Helper()
	parent := ""
	if runtime.GOOS == "linux" {
		parent = "/dev/shm"
	}
	dir, err := os.MkdirTemp(parent, "shmheap-blackbox-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "heaps")
}

// box is a heap with its allocator, open in this process.
type box struct {
	*heap.Heap
	alloc *alloc.Allocator
	dir   string
}

// newBox creates a heap, which is closed, if it still is open, when the test ends.
func newBox(t testing.TB, size uint64) box {
	t.Helper()
	dir := newDir(t)
	h, err := heap.Create(heapName, &heap.Options{Dir: dir, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil && !errors.Is(err, heap.ErrClosed) {
			t.Error(err)
		}
	})
	return box{h, a, dir}
}

// attach opens, in a program, the heap of the test in the directory of the first argument.
func attach() (box, error) {
	dir := os.Args[1]
	h, err := heap.Open(heapName, &heap.Options{Dir: dir})
	if err != nil {
		return box{}, err
	}
	a, err := alloc.Open(h)
	return box{h, a, dir}, err
}

// wantClean fails the test when a check finds damage, or something that recovery had to return.
func (b box) wantClean(t testing.TB) {
	t.Helper()
	r := b.alloc.Check()
	for _, p := range r.Problems {
		t.Error("check: ", p)
	}
	for _, n := range r.Notes {
		t.Error("check: note: ", n)
	}
}

// wantLive fails the test unless exactly n blocks are in use.
func (b box) wantLive(t testing.TB, n uint64) {
	t.Helper()
	if stats := b.stats(t); stats.Live != n {
		t.Errorf("%d blocks are in use, want %d: %+v", stats.Live, n, stats)
	}
}

func (b box) stats(t testing.TB) alloc.Stats {
	t.Helper()
	stats, err := b.alloc.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return stats
}
