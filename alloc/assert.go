package alloc

import (
	"fmt"
	"sync/atomic"

	"github.com/shmheap/shmheap/internal/invariants"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// Builds with the tag invariants compare the equations in the comments with what is. In all others these functions are
// empty, and so are the calls of them. None is called by the short ways of Alloc and Free, which no cache takes in
// such a build: all are careful.

// lawless says that somebody breaks the tables on purpose: then only what lies in this process's own memory must
// be true.
var lawless atomic.Bool

// breach panics with what is not true.
func breach(format string, args ...any) {
	panic("alloc: broken invariant: " + fmt.Sprintf(format, args...))
}

// assertMoved: collect makes blocks free that exist and were in use.
func assertMoved(moved, before, valid uint64) {
	if invariants.Enabled && moved&^valid|moved&before != 0 {
		breach("collect frees %#x, where %#x are free already and %#x exist", moved, before, valid)
	}
}

// assertTaken: what is taken is free, in the word and for the bin.
func assertTaken(bit uint64, word *mem.Word, mask uint64) {
	if invariants.Enabled && !lawless.Load() && (bit&(bit-1) != 0 || bit&mask&word.Peek() == 0) {
		breach("block of bit %#x is taken, where %#x are free of %#x", bit, word.Peek(), mask)
	}
}

// assertLoaded: bits of free are set in the word, which only the bin's owner clears, and stand for blocks.
func (b *bin) assertLoaded() {
	if invariants.Enabled && !lawless.Load() && b.free&^(b.word.Peek()&b.mask) != 0 {
		breach("class %d goes by free blocks %#x, where %#x are of %#x", b.class, b.free, b.word.Peek(), b.mask)
	}
}

// assertOwned: a cache's bins and their queues have slabs of its own, each with the class and the flags of the bin.
func (c *Cache) assertOwned(b *bin, head uint64) {
	if invariants.Enabled && !lawless.Load() && c.a.states[head].Load() != uint64(b.state(c.id)) {
		breach("slab at granule %d of cache %d has state %#x, want %#x", head, c.id, c.a.states[head].Load(), uint64(b.state(c.id)))
	}
}

// assertEmpty: all blocks of a slab that is given back are free, and no bin takes from it.
func (c *Cache) assertEmpty(b *bin, s slab) {
	if !invariants.Enabled || lawless.Load() {
		return
	}
	if n := c.a.countUsed(s); n != 0 {
		breach("slab at granule %d is given back with %d blocks in use", s.head, n)
	}
	if b.front != nil && b.slab.local != nil && b.slab.head == s.head {
		breach("slab at granule %d is given back, and a bin takes from it", s.head)
	}
}

// assertFar: what freeFar remembers of a slab is what the descriptors say.
func (c *Cache) assertFar(off uint64, local, remote *mem.Word, bit uint64) {
	if !invariants.Enabled || lawless.Load() {
		return
	}
	if b, err := c.a.locate(off); err == nil && (b.local != local || b.remote != remote || b.bit != bit) {
		breach("the block at %#x is not where the slot of its slab says", c.a.address(off))
	}
}

// assertSlots: a careful cache has no slots, the slot of those that have none is nobody's, and others count the
// granules of theirs.
func (c *Cache) assertSlots() {
	if invariants.Enabled && (noSlot != slot{} || c.slots.used < 0 || c.careful != nil && c.slots.used != 0) {
		breach("cache %d has slots for %d granules; the slot of caches without is %+v", c.id, c.slots.used, noSlot)
	}
}

// assertBounds: allowed == always + a part of what is in use + extra, none of which is negative.
func (r *retention) assertBounds(idle, used int64) {
	if invariants.Enabled && (idle < 0 || used < 0 || r.extra < 0 || r.allowed.Load() < retainAlways) {
		breach("retention: %d idle, %d used, %d allowed, %d of them extra", idle, used, r.allowed.Load(), r.extra)
	}
}

// assertBounds: bound >= under, as what is about to be claimed is in both.
func (q *quota) assertBounds() {
	if invariants.Enabled && q.bound < q.under {
		breach("quota: at most %d granules are held, of which %d are about to be", q.bound, q.under)
	}
}

// assertRun: a run that becomes a block or is given back is claimed by this cache, tails and all, and marked busy.
func (c *Cache) assertRun(head, n uint64) {
	if !invariants.Enabled || lawless.Load() {
		return
	}
	if s := c.a.states[head].Load(); s != uint64(layout.MakeState(layout.KindClaimed, 0, c.id, n)) || !c.a.isWhole(head, n) {
		breach("run of %d granules at %d of cache %d has state %#x or is not whole", n, head, c.id, s)
	}
	for g := head; g < head+n; g++ {
		if !c.a.isBusy(g) {
			breach("granule %d is claimed and not marked busy", g)
		}
	}
}
