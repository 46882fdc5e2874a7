package crash

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

// box is a heap with its allocator, open in this process.
type box struct {
	*heap.Heap
	alloc *alloc.Allocator
}

// newBox creates a heap, which is closed, if it still is open, when the test ends.
func newBox(t testing.TB, size uint64) box {
	t.Helper()
	h, err := heap.Create("box", &heap.Options{Path: filepath.Join(newDir(t), "box.heap"), Size: size})
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
	return box{h, a}
}

// attach opens, in a program, the heap of the first argument.
func attach() (box, error) {
	h, err := heap.Open(os.Args[1], nil)
	if err != nil {
		return box{}, err
	}
	a, err := alloc.Open(h)
	return box{h, a}, err
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

func (b box) stats(t testing.TB) alloc.Stats {
	t.Helper()
	stats, err := b.alloc.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

// extent is where a block lies.
type extent struct{ start, end uintptr }

// apart wants blocks not to overlap.
func apart(blocks []extent) error {
	slices.SortFunc(blocks, func(a, b extent) int { return cmp.Compare(a.start, b.start) })
	for i := 1; i < len(blocks); i++ {
		if blocks[i].start < blocks[i-1].end {
			return fmt.Errorf("blocks overlap: %#x and %#x", blocks[i-1], blocks[i])
		}
	}
	return nil
}
