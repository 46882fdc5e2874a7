package alloc

import (
	"errors"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
)

// A private block dies with the cache that it came from unless it was published. Private blocks come from
// slabs of their own, whose state has FlagPrivate and whose published bitmap says which blocks live on, and
// private large blocks are those that have an owner. So neither the shared blocks nor their fast paths know of
// the difference.
//
//	killed                                   recovery finds
//	between Alloc and Publish                a used block, not published: frees it
//	behind the OR or the CAS of Publish      a published block, or a large one of nobody: keeps it
//	while freeing a published one, between   a free block that is still published: it is free, and the
//	local and published                      slab is a shared one from then on, where the bit means nothing

// allocPrivate returns the offset of a block of at least size bytes that dies with the cache.
func (c *Cache) allocPrivate(size uint64) (uint64, error) {
	switch {
	case c.closed:
		return 0, ErrClosed
	case size > layout.MaxSmall:
		c.largePrivate = true
		return c.allocLarge(size, c.id)
	case c.private == nil:
		c.private = new(bins)
		c.private.init(layout.FlagPrivate)
	}
	return c.allocFrom(&c.private.all[layout.ClassOf(size)])
}

// publish makes the block that begins at off a shared one, if it is not already.
func (a *Allocator) publish(off uint64) error {
	b, err := a.locate(off)
	switch {
	case err != nil:
		return err
	case b.local == nil:
		return a.publishLarge(&b, off)
	case b.isFree():
		return a.notAllocated(off)
	case b.state.Flags()&layout.FlagPrivate != 0:
		b.public.Or(b.bit)
		crashpoint.Hit("alloc.publish.after-bit")
	}
	return nil
}

func (a *Allocator) publishLarge(b *block, off uint64) error {
	if b.state.Cache() == 0 {
		return nil
	}
	if !a.states[b.head].CompareAndSwap(uint64(b.state), uint64(b.state.Disown())) {
		return a.notAllocated(off) // freed, or published by somebody else, at this instant
	}
	crashpoint.Hit("alloc.publish.after-large")
	return nil
}

// releasePrivate frees the cache's large private blocks. The states are searched only when there may be some.
func (c *Cache) releasePrivate() error {
	var errs []error
	for g := c.a.first; c.largePrivate && g < c.a.frontier(); g++ {
		s := layout.State(c.a.states[g].Load())
		if s.Kind() != layout.KindLarge || s.Cache() != c.id {
			continue
		}
		errs = append(errs, c.a.freeOwned(g, s))
	}
	return errors.Join(errs...)
}

// freeOwned frees a large private block of a cache that is closing or dead.
func (a *Allocator) freeOwned(head uint64, s layout.State) error {
	if !a.isWhole(head, s.Run()) {
		return a.corrupt(head<<layout.GranuleShift, "block of %d granules is not whole", s.Run())
	}
	claimed := layout.MakeState(layout.KindClaimed, 0, s.Cache(), s.Run())
	if !a.states[head].CompareAndSwap(uint64(s), uint64(claimed)) {
		return nil // published or freed meanwhile
	}
	crashpoint.Hit("alloc.private.after-claim")
	return a.releaseRun(head, s.Run())
}
