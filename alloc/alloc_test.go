package alloc

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/shmheap/shmheap/internal/invariants"
	"github.com/shmheap/shmheap/internal/layout"
)

// TestSizesAndAlignment allocates every size up to beyond the largest class: blocks are aligned, large
// enough, apart from each other, and all free afterwards.
func TestSizesAndAlignment(t *testing.T) {
	a, _ := newGoRegion(t, 64<<20).join(t)
	c := mustCache(t, a)
	for size := uint64(0); size <= layout.MaxSmall+layout.GranuleSize; size += 1 + size/50 {
		x, y := mustAlloc(t, c, size), mustAlloc(t, c, size)
		usable, err := a.usableSize(x)
		if err != nil || usable < size || x%16 != 0 || x < y && x+usable > y || y < x && y+usable > x {
			t.Fatalf("size %d: blocks at %#x and %#x, usable %d: %v", size, x, y, usable, err)
		}
		mustFree(t, c, x)
		mustFree(t, c, y)
	}
	mustCheck(t, a)
	mustCount(t, a, 0)
}

// TestWrongPointers: nothing but the begin of an allocated block can be freed, and nothing changes.
func TestWrongPointers(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, _ := r.join(t)
	c, other := mustCache(t, a), mustCache(t, a)
	next := uint64(112) // where the block behind the small one begins
	if invariants.Enabled {
		next = 128
	}
	small, span, large := mustAlloc(t, c, 100), mustAlloc(t, c, 20_000), mustAlloc(t, c, 300_000)
	for _, wrong := range []struct {
		name string
		off  uint64
		want error
	}{
		{"table", 0, ErrNotAllocated},
		{"interior of a small block", small + 16, ErrNotAllocated},
		{"unaligned", small + 1, ErrNotAllocated},
		{"free block", small + next, ErrDoubleFree},
		{"rest behind the last block", a.first<<layout.GranuleShift + 585*112, ErrNotAllocated},
		{"interior of a slab of three granules", span + layout.GranuleSize, ErrNotAllocated},
		{"interior of a large block", large + layout.GranuleSize, ErrNotAllocated},
		{"interior of a large block, same granule", large + 4096, ErrNotAllocated},
		{"free granule", large + 5*layout.GranuleSize, ErrNotAllocated},
		{"behind the frontier", r.geometry.Size - layout.GranuleSize, ErrNotAllocated},
		{"behind the end", r.geometry.Size + 1<<40, ErrNotAllocated},
		{"far behind the end", ^uint64(0) - 15, ErrNotAllocated},
	} {
		if err := c.free(wrong.off); !errors.Is(err, wrong.want) {
			t.Errorf("%s: free says %v", wrong.name, err)
		}
		if err := other.free(wrong.off); !errors.Is(err, wrong.want) {
			t.Errorf("%s: free by another cache says %v", wrong.name, err)
		}
		if _, err := a.usableSize(wrong.off); !errors.Is(err, ErrNotAllocated) {
			t.Errorf("%s: usable size says %v", wrong.name, err)
		}
	}
	mustCount(t, a, 3)
	mustCheck(t, a)
}

// TestDoubleFree: whoever frees first, the second one is told, and before the owner collects as well
// as after.
func TestDoubleFree(t *testing.T) {
	a, _ := newGoRegion(t, 64<<20).join(t)
	owner, other := mustCache(t, a), mustCache(t, a)
	for _, size := range []uint64{16, 100, 1000, 20_000, 300_000} {
		for _, free := range [][2]*Cache{{owner, owner}, {owner, other}, {other, owner}, {other, other}} {
			off := mustAlloc(t, owner, size)
			mustFree(t, free[0], off)
			if err := free[1].free(off); !errors.Is(err, ErrDoubleFree) && !errors.Is(err, ErrNotAllocated) {
				t.Fatalf("size %d: second free says %v", size, err)
			}
			if s := layout.State(a.states[off>>layout.GranuleShift].Load()); s.Kind() == layout.KindSlab {
				a.collect(a.slab(off>>layout.GranuleShift, s))
				if err := free[1].free(off); !errors.Is(err, ErrDoubleFree) {
					t.Fatalf("size %d: second free after collecting says %v", size, err)
				}
			}
		}
	}
	mustCheck(t, a)
	mustCount(t, a, 0)
}

// TestRemoteFreesAreReused: what another cache frees is allocated again instead of growing.
func TestRemoteFreesAreReused(t *testing.T) {
	a, _ := newGoRegion(t, 64<<20).join(t)
	producer, consumer := mustCache(t, a), mustCache(t, a)
	for _, size := range []uint64{16, 64, 1000, 8000} {
		var before Stats
		for round := range 50 {
			var blocks []uint64
			for range 2000 {
				blocks = append(blocks, mustAlloc(t, producer, size))
			}
			for _, off := range blocks {
				mustFree(t, consumer, off)
			}
			s, _ := a.Stats()
			if round == 5 {
				before = s
			}
			if round > 5 && s.Slabs > before.Slabs+2 {
				t.Fatalf("size %d: %d slabs after %d rounds, %d before", size, s.Slabs, round, before.Slabs)
			}
		}
	}
	mustCheck(t, a)
	mustCount(t, a, 0)
}

// TestOrphansAreAdopted: the slabs of a closed cache and of a dead peer serve others.
func TestOrphansAreAdopted(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, _ := r.join(t)
	keeper, member := r.join(t)
	for _, c := range []*Cache{mustCache(t, a), mustCache(t, keeper)} {
		var blocks []uint64
		for range 10_000 {
			blocks = append(blocks, mustAlloc(t, c, 64))
		}
		for i := 0; i < len(blocks); i += 2 {
			mustFree(t, c, blocks[i])
		}
		if c.a == a {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	member.die()
	if _, err := a.Recover(); err != nil {
		t.Fatal(err)
	}
	before, _ := a.Stats()
	c := mustCache(t, a)
	for range before.FreeBlocks - 2048 {
		mustAlloc(t, c, 64)
	}
	after, _ := a.Stats()
	if after.Slabs > before.Slabs {
		t.Errorf("%d slabs, %d before: free blocks of orphans were not found", after.Slabs, before.Slabs)
	}
	mustCheck(t, a)
}

// TestNoSpace: a full file system and a full region are errors; everything can be freed and allocated
// again, and an empty slab of one class makes room for another.
func TestNoSpace(t *testing.T) {
	for _, limit := range []int{120, 1 << 20} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			r := newGoRegion(t, 16<<20)
			r.limit = min(limit, r.limit)
			a, _ := r.join(t)
			c := mustCache(t, a)
			for _, size := range []uint64{64, 3000, 30_000, 200_000} {
				blocks := fill(t, c, size)
				mustCheck(t, a)
				for _, off := range blocks {
					mustFree(t, c, off)
				}
				if again := fill(t, c, size); len(again) < len(blocks)*9/10 {
					t.Errorf("size %d: %d blocks the second time, %d the first", size, len(again), len(blocks))
				} else {
					for _, off := range again {
						mustFree(t, c, off)
					}
				}
				mustCount(t, a, 0)
			}
			if _, err := c.alloc(1 << 40); !errors.Is(err, ErrTooLarge) {
				t.Errorf("1 TiB of 16 MiB: %v", err)
			}
		})
	}
}

func fill(t *testing.T, c *Cache, size uint64) (blocks []uint64) {
	for {
		off, err := c.alloc(size)
		if errors.Is(err, ErrNoSpace) && len(blocks) > 0 {
			return blocks
		}
		if err != nil {
			t.Fatalf("size %d after %d blocks: %v", size, len(blocks), err)
		}
		blocks = append(blocks, off)
	}
}

// TestTrimGivesStorageBack: after a drain and a Trim little more than the tables has storage.
func TestTrimGivesStorageBack(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, _ := r.join(t)
	c := mustCache(t, a)
	mustFree(t, c, mustAlloc(t, c, 1)) // commits the first tables
	before := r.Committed()
	var blocks []uint64
	for size := uint64(16); size < 1<<20; size *= 2 {
		for range 20 {
			blocks = append(blocks, mustAlloc(t, c, size))
		}
	}
	for _, off := range blocks {
		mustFree(t, c, off)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Trim(); err != nil {
		t.Fatal(err)
	}
	if after := r.Committed(); after > before+layout.GranuleSize {
		t.Errorf("%d bytes have storage, %d before", after, before)
	}
	mustCheck(t, a)
	mustCount(t, a, 0)
}

// TestClosed: a closed cache and a closed allocator say so.
func TestClosed(t *testing.T) {
	r := newGoRegion(t, 32<<20)
	a, _ := r.join(t)
	c := mustCache(t, a)
	off := mustAlloc(t, c, 64)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	_, small := c.alloc(64)
	_, large := c.alloc(1 << 20)
	for i, err := range []error{small, large, c.free(off), c.Close()} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("call %d on a closed cache: %v", i, err)
		}
	}
	if err := a.free(off); err != nil {
		t.Error(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	_, alloc := a.alloc(64)
	_, cache := a.NewCache()
	_, stats := a.Stats()
	_, trim := a.Trim()
	_, recovery := a.Recover()
	for i, err := range []error{alloc, cache, stats, trim, recovery, a.free(off), a.Close(), c.allocInto(off, 8), c.freeFrom(off)} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("call %d on a closed allocator: %v", i, err)
		}
	}
	other, _ := r.join(t)
	mustCheck(t, other)
	mustCount(t, other, 0)
}

// TestConcurrent has goroutines of three peers allocate, write, hand on and free; some use the
// allocator, some caches. Under the race detector it proves that the plain stores of the fast path
// are ordered by what the protocol says orders them.
func TestConcurrent(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	var wg sync.WaitGroup
	handed := make(chan uint64, 256)
	var peers []*Allocator
	for range 3 {
		a, _ := r.join(t)
		peers = append(peers, a)
		for kind := range 2 {
			wg.Go(func() { churn(t, a, kind == 0, handed) })
		}
	}
	wg.Wait()
	close(handed)
	for off := range handed {
		if err := peers[0].free(off); err != nil {
			t.Error(err)
		}
	}
	mustCheck(t, peers[0])
	mustCount(t, peers[0], 0)
}

func churn(t *testing.T, a *Allocator, ownCache bool, handed chan uint64) {
	alloc, free := a.alloc, a.free
	if ownCache {
		c, err := a.NewCache()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		alloc, free = c.alloc, c.free
	}
	for i := range uint64(20_000) {
		size := 16 + i*i%2000
		if i%500 == 0 {
			size = 100_000
		}
		off, err := alloc(size)
		if err != nil {
			t.Error(err)
			return
		}
		fillBlock(a, off, size)
		select {
		case handed <- off:
			off = <-handed
		default:
		}
		if err := verifyBlock(a, off); err != nil {
			t.Error(err)
		}
		if err := free(off); err != nil {
			t.Error(err)
			return
		}
	}
}

// fillBlock writes the size and a pattern that only this block has.
func fillBlock(a *Allocator, off, size uint64) {
	b := a.memory.Bytes(off, max(size, minAlign))
	for i := range b {
		b[i] = byte(off>>4) + byte(i)
	}
	b[0], b[1], b[2] = byte(size), byte(size>>8), byte(size>>16)
}

func verifyBlock(a *Allocator, off uint64) error {
	head := a.memory.Bytes(off, minAlign)
	size := max(uint64(head[0])|uint64(head[1])<<8|uint64(head[2])<<16, minAlign)
	for i, b := range a.memory.Bytes(off, size) {
		if i > 2 && b != byte(off>>4)+byte(i) {
			return fmt.Errorf("byte %d of the block at %#x changed", i, off)
		}
	}
	return nil
}
