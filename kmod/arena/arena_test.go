package arena_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/kmod/arena"
)

func newOptions(t testing.TB) *heap.Options {
	t.Helper()
	return &heap.Options{
		Dir: filepath.Join(t.TempDir(), "heaps"), Size: 16 << 20, MaxPeers: 16, MaxRoots: 16, MaxCaches: 64,
		Kernel: arena.New(nil),
	}
}

func mustCreate(t testing.TB, name string, o *heap.Options) *heap.Heap {
	t.Helper()
	h, err := heap.Create(name, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil && !errors.Is(err, heap.ErrClosed) {
			t.Error(err)
		}
		if err := heap.Remove(name, o); err != nil && !errors.Is(err, heap.ErrNotExist) {
			t.Error(err)
		}
	})
	return h
}

// TestStorage: what is committed reads back, and as zero when it was given back.
func TestStorage(t *testing.T) {
	o := newOptions(t)
	h := mustCreate(t, "a", o)
	first := h.Geometry().Sections.Data
	if err := h.Commit(first, layout.GranuleSize); err != nil {
		t.Fatal(err)
	}
	w := h.Memory().Word(first + 4096)
	w.Swap(42)
	r, err := arena.Of(h)
	if err != nil {
		t.Fatal(err)
	}
	f, err := r.FreeFile()
	t.Logf("free %v %v", f, err)
	if err := h.Decommit(first, layout.GranuleSize); err != nil {
		t.Fatal(err)
	}
	if err := h.Commit(first, 1); err != nil || w.Load() != 0 {
		t.Errorf("word %d, %v", w.Load(), err)
	}
	info, err := heap.Stat("a", o)
	t.Logf("%+v %v", info, err)
	h.Close()
	h, err = heap.Open("a", o)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile("/proc/self/maps")
	_ = b
	h.Close()
}
