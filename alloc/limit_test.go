package alloc

import (
	"errors"
	"testing"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
)

// TestLimitMovesStorage: at the limit of the heap, what has storage and is free gives way to what needs it
// elsewhere.
func TestLimitMovesStorage(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, _ := r.join(t)
	c := mustCache(t, a)
	mustFree(t, c, mustAlloc(t, c, 100_000)) // the tables of the first chunk
	r.bound = r.committed() + 80
	var blocks []uint64
	for {
		off, err := c.alloc(layout.MaxSmall)
		if err != nil {
			if !errors.Is(err, heap.ErrLimit) || !errors.Is(err, ErrNoSpace) {
				t.Fatal(err)
			}
			break
		}
		blocks = append(blocks, off)
	}
	if n := len(blocks); n < 18*8 || n > 20*8 {
		t.Fatalf("%d blocks of 32 KiB fit into 80 granules", n)
	}
	for _, off := range blocks {
		mustFree(t, c, off)
	}
	for range 3 { // in the middle of nowhere: one that needs all there is
		off := mustAlloc(t, c, 70<<layout.GranuleShift)
		if r.Committed() > uint64(r.bound)<<layout.GranuleShift {
			t.Fatalf("%d bytes are committed, the limit is %d granules", r.Committed(), r.bound)
		}
		if _, err := c.alloc(70 << layout.GranuleShift); !errors.Is(err, heap.ErrLimit) {
			t.Errorf("twice as much as the limit: %v", err)
		}
		mustFree(t, c, off)
	}
	mustCheck(t, a)
	mustCount(t, a, 0)
}
