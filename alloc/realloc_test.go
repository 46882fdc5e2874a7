package alloc

import (
	"errors"
	"testing"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/probe"
)

// TestReallocKeepsBytes: whatever the way from size to size, what fits of the bytes is there.
func TestReallocKeepsBytes(t *testing.T) {
	a, _ := newGoRegion(t, 64<<20).join(t)
	c, other := mustCache(t, a), mustCache(t, a)
	sizes := []uint64{1, 16, 17, 100, 5000, 32_768, 40_000, 65_536, 65_537, 200_000, 1 << 20, 3 << 20}
	for _, from := range sizes {
		for _, to := range sizes {
			for _, resizer := range []*Cache{c, other} {
				off := mustAlloc(t, c, from)
				bytes := a.memory.Bytes(off, from)
				for i := range bytes {
					bytes[i] = byte(i*7 + i>>8)
				}
				off, err := resizer.realloc(off, to)
				if err != nil {
					t.Fatalf("%d to %d: %v", from, to, err)
				}
				for i, b := range a.memory.Bytes(off, min(from, to)) {
					if b != byte(i*7+i>>8) {
						t.Fatalf("%d to %d: byte %d is %#x", from, to, i, b)
					}
				}
				if n, err := a.usableSize(off); err != nil || n < to || n > 2*max(to, 32<<10) && n != layout.GranuleSize {
					t.Fatalf("%d to %d: the block has %d bytes: %v", from, to, n, err)
				}
				mustFree(t, c, off)
			}
		}
	}
	mustCheck(t, a)
	mustCount(t, a, 0)
}

// TestResizeInPlace: a large block grows into what is free behind it, gives back what it does not need, and moves
// when something is in the way.
func TestResizeInPlace(t *testing.T) {
	a, _ := newGoRegion(t, 64<<20).join(t)
	c := mustCache(t, a)
	off := mustAlloc(t, c, 100_000)
	for _, size := range []uint64{1 << 20, 5 << 20, 70_000, 3 << 20} {
		got, err := c.realloc(off, size)
		if err != nil || got != off {
			t.Fatalf("resized to %d bytes at %#x, want %#x: %v", size, got, off, err)
		}
		if n, err := a.usableSize(off); err != nil || n != granulesOf(size)<<layout.GranuleShift {
			t.Fatalf("the block of %d bytes has %d: %v", size, n, err)
		}
		mustCheck(t, a)
	}
	neighbour := mustAlloc(t, c, 100_000)
	if neighbour != off+3<<20 {
		t.Fatalf("the neighbour is at %#x", neighbour)
	}
	moved, err := c.realloc(off, 4<<20)
	if err != nil || moved == off {
		t.Fatalf("moved to %#x: %v", moved, err)
	}
	mustCheck(t, a)
	mustCount(t, a, 2)
	if again := mustAlloc(t, c, 3<<20); again != off {
		t.Errorf("the old place at %#x was not free: %#x", off, again)
	}
}

// TestReallocMisuse: what is no block is not resized, and what does not fit stays.
func TestReallocMisuse(t *testing.T) {
	a, _ := newGoRegion(t, 16<<20).join(t)
	c := mustCache(t, a)
	for _, size := range []uint64{64, 100_000} {
		off := mustAlloc(t, c, size)
		if _, err := c.realloc(off+16, 500); !errors.Is(err, ErrNotAllocated) {
			t.Errorf("inside of a block: %v", err)
		}
		if _, err := c.realloc(off, 1<<40); !errors.Is(err, ErrTooLarge) {
			t.Errorf("too large: %v", err)
		}
		mustFree(t, c, off)
		if _, err := c.realloc(off, 500); !errors.Is(err, ErrNotAllocated) {
			t.Errorf("free block: %v", err)
		}
	}
	mustCheck(t, a)
	mustCount(t, a, 0)
}

// TestPrivateStaysPrivate: a private block that was moved dies with its cache all the same.
func TestPrivateStaysPrivate(t *testing.T) {
	r := newGoRegion(t, 32<<20)
	a, _ := r.join(t)
	survivor, _ := r.join(t)
	c := mustCache(t, a)
	for _, from := range []uint64{64, 100_000} {
		for _, to := range []uint64{50, 3000, 300_000, 2 << 20} {
			off, err := c.allocPrivate(from)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.realloc(off, to); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustCount(t, survivor, 8)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, survivor)
	mustCount(t, survivor, 0)
}

func TestAligned(t *testing.T) {
	a, _ := newGoRegion(t, 64<<20).join(t)
	c := mustCache(t, a)
	var all []uint64
	for align := uint64(1); align <= 4<<20; align *= 2 {
		for _, size := range []uint64{1, 16, 100, 5000, 40_000, 200_000} {
			off, err := c.allocAligned(size, align)
			if err != nil {
				t.Fatalf("%d bytes aligned to %d: %v", size, align, err)
			}
			if (off+a.origin<<layout.GranuleShift)%align != 0 {
				t.Errorf("%d bytes aligned to %d are at %#x", size, align, off)
			}
			all = append(all, off)
		}
		mustCheck(t, a)
	}
	for _, align := range []uint64{0, 3, 48, 2 * MaxAlign} {
		if _, err := c.allocAligned(64, align); !errors.Is(err, ErrAlign) {
			t.Errorf("aligned to %d: %v", align, err)
		}
	}
	for _, off := range all {
		mustFree(t, c, off)
	}
	mustCount(t, a, 0)
}

// TestAlignedAtAnyBase: it is the address that is aligned. A base that was asked for is a multiple of 64 KiB and of no more.
func TestAlignedAtAnyBase(t *testing.T) {
	free, err := probe.Find(1<<30, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := free.Release(); err != nil {
		t.Fatal(err)
	}
	h, err := heap.CreateAnonymous(&heap.Options{Size: 64 << 20, Base: free.Range().Start + 3*layout.GranuleSize})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	a, err := Open(h)
	if err != nil {
		t.Fatal(err)
	}
	for align := uintptr(16); align <= 8<<20; align *= 2 {
		for _, size := range []uint64{1, 5000, 200_000} {
			p, err := a.AllocAligned(size, uint64(align))
			if err != nil || uintptr(p)%align != 0 {
				t.Errorf("%d bytes aligned to %d are at %p: %v", size, align, p, err)
			}
		}
	}
	mustCheck(t, a)
}
