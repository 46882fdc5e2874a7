package alloc

import (
	"errors"
	"time"

	"github.com/shmheap/shmheap/internal/layout"
)

// queueDepth bounds how many other slabs a refill looks at before it takes a new one. It adapts
// between the two: a search that finds nothing is halved, one that finds something doubled.
const (
	queueDepth    = 16
	minQueueDepth = 4
	maxQueueDepth = 64
)

// refill gives the bin a word with a free block: from its slab, from the cache's other
// slabs, from slabs that nobody owns, or from a new slab.
func (c *Cache) refill(b *bin) error {
	if c.closed {
		return ErrClosed
	}
	c.assertSlots()
	c.report(b)
	c.tidy()
	if b.nextWord(c.a) || c.reuse(b, b.depth) {
		return nil
	}
	return c.insist(func() error { return c.extendBin(b) })
}

// extendBin gives the bin another slab: one that nobody owns, or a new one. Without room for that, all
// of the cache's own are looked at.
func (c *Cache) extendBin(b *bin) error {
	s, ok := c.adoptWithFree(b)
	if !ok {
		var err error
		if s, err = c.newSlab(b); err != nil {
			if errors.Is(err, ErrNoSpace) && c.reuse(b, b.queue.len()) {
				return nil
			}
			return err
		}
	}
	b.use(c.a, s)
	return nil
}

// insist calls try again when it met ErrNoSpace and there may be room after all: because this process
// gave up what it did not need, a dead peer's spans came back, or peers hold granules for a moment.
func (c *Cache) insist(try func() error) error {
	err := try()
	for pause := 50 * time.Microsecond; errors.Is(err, ErrNoSpace) && pause < 2*time.Millisecond; pause *= 2 {
		if !c.makeSpace(err) {
			time.Sleep(pause)
		}
		if err = try(); err == nil || !c.a.isUnsettled() && pause > 100*time.Microsecond {
			break
		}
	}
	return err
}

// isUnsettled reports whether somebody is making or taking apart a span, or recovering.
func (a *Allocator) isUnsettled() bool {
	for g := a.first; g < a.frontier(); g++ {
		if layout.State(a.states[g].Load()).Kind() == layout.KindClaimed {
			return true
		}
	}
	for id := 1; id < len(a.caches) && a.hasRecord(id); id++ {
		if a.caches[id].Owner.Load()&cacheStateMask == layout.CacheRecovering {
			return true
		}
	}
	return false
}

// reuse takes the first of the cache's other slabs that has a free block, looking at depth of them. A
// second one that turns out to be empty goes back.
func (c *Cache) reuse(b *bin, depth int) bool {
	for range min(depth, b.queue.len()) {
		head, _ := b.queue.pop()
		c.assertOwned(b, head)
		if s := c.a.slab(head, b.state(c.id)); c.a.hasFree(s) {
			b.use(c.a, s)
			b.depth = min(2*b.depth, maxQueueDepth)
			c.dropEmpty(b)
			return true
		}
		b.queue.push(head)
	}
	b.depth = max(b.depth/2, minQueueDepth)
	return false
}

// adoptWithFree adopts slabs until one has a free block. Those without stay with this cache. What is nobody's
// has shared blocks or samples, so bins of private ones take new slabs only.
func (c *Cache) adoptWithFree(b *bin) (slab, bool) {
	if b.flags&layout.FlagPrivate != 0 {
		return slab{}, false
	}
	n := uint64(layout.Classes[b.class].Granules)
	for range maxQueueDepth {
		if c.a.quota.reserve(c.a, n) != nil {
			return slab{}, false
		}
		s, ok := c.adopt(b.class, b.flags)
		c.a.quota.settle(n, ok)
		if !ok || c.a.hasFree(s) {
			return s, ok
		}
		b.queue.push(s.head)
	}
	return slab{}, false
}

// makeSpace frees granules that nobody needs: empty slabs of this cache, of the allocator's others that are
// idle and of nobody, and what dead peers hold. It makes the next search for slabs of nobody look at all of
// them, and asks the caches of all processes to give up their empty slabs. What err says is lacking for the limit of the heap is
// taken from free granules. It reports whether it freed anything.
func (c *Cache) makeSpace(err error) bool {
	dropped := c.dropEmpties() + c.a.near.dropEmpties() + c.a.shards.dropEmpties(c)
	dropped += c.trimFor(err)
	recovered, _, err := c.a.recoverOnce()
	dropped += c.dropOrphans()
	c.a.super.Pressure.Add(1)
	for class := range layout.NumClasses {
		c.a.super.Orphans[class].StoreRelease(1)
	}
	return dropped > 0 || err == nil && recovered.Caches > 0
}
