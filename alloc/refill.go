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

// refill gives the bin of the class a word with a free block: from its slab, from the cache's other
// slabs, from slabs that nobody owns, or from a new slab.
func (c *Cache) refill(class int) error {
	if c.closed {
		return ErrClosed
	}
	b := &c.bins[class]
	if b.nextWord(c.a) || c.reuse(class, b.depth) {
		return nil
	}
	return c.insist(func() error { return c.extendBin(class) })
}

// extendBin gives the bin another slab: one that nobody owns, or a new one. Without room for that, all
// of the cache's own are looked at.
func (c *Cache) extendBin(class int) error {
	b := &c.bins[class]
	s, ok := c.adoptWithFree(class)
	if !ok {
		var err error
		if s, err = c.newSlab(class); err != nil {
			if errors.Is(err, ErrNoSpace) && c.reuse(class, b.queue.len()) {
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
		if !c.makeSpace() {
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

// nextWord moves on to the next word with a free block of the bin's slab, after collecting if need be.
func (b *bin) nextWord(a *Allocator) bool {
	if b.slab.local == nil {
		return false
	}
	if b.findWord(a) {
		return true
	}
	a.collect(b.slab)
	return b.findWord(a)
}

// findWord looks at all words of the slab, beginning behind the current one.
func (b *bin) findWord(a *Allocator) bool {
	p, n := &a.bitmap[b.slab.class], len(b.slab.local)
	for i := range n {
		at := (b.index + 1 + i) % n
		if b.slab.local[at].Peek()&p.valid(uint64(at)) != 0 {
			b.point(p, at)
			return true
		}
	}
	return false
}

func (b *bin) point(p *bitmapPlace, at int) {
	b.index, b.word, b.valid = at, &b.slab.local[at], p.valid(uint64(at))
	b.first = b.slab.head<<layout.GranuleShift + uint64(at)*64*b.size
}

// use makes s, which has a free block, the bin's slab.
func (b *bin) use(a *Allocator, s slab) {
	b.setAside()
	b.slab, b.index = s, -1
	b.nextWord(a)
}

// setAside puts the bin's slab behind the others.
func (b *bin) setAside() {
	if b.slab.local != nil {
		b.queue.push(b.slab.head)
	}
	b.slab, b.word, b.valid = slab{}, &noBlocks, 0
}

// reuse takes the first of the cache's other slabs that has a free block, looking at depth of them. A
// second one that turns out to be empty goes back.
func (c *Cache) reuse(class, depth int) bool {
	b := &c.bins[class]
	for range min(depth, b.queue.len()) {
		head, _ := b.queue.pop()
		if s := c.a.slab(head, class); c.a.hasFree(s) {
			b.use(c.a, s)
			b.depth = min(2*b.depth, maxQueueDepth)
			c.dropEmpty(class)
			return true
		}
		b.queue.push(head)
	}
	b.depth = max(b.depth/2, minQueueDepth)
	return false
}

// dropEmpty gives the oldest slab of the queue back if it is empty.
func (c *Cache) dropEmpty(class int) {
	b := &c.bins[class]
	head, ok := b.queue.pop()
	if !ok {
		return
	}
	s := c.a.slab(head, class)
	c.a.collect(s)
	if !c.a.isEmpty(s) || c.releaseSlab(s) != nil {
		b.queue.push(head)
	}
}

// adoptWithFree adopts slabs until one has a free block. Those without stay with this cache.
func (c *Cache) adoptWithFree(class int) (slab, bool) {
	for range maxQueueDepth {
		s, ok := c.adopt(class)
		if !ok || c.a.hasFree(s) {
			return s, ok
		}
		c.bins[class].queue.push(s.head)
	}
	return slab{}, false
}

// makeSpace frees granules that nobody needs: empty slabs of this cache and of the allocator's others
// that are idle, and what dead peers hold. It makes the next search for slabs of nobody look at all of
// them. Other processes' caches keep their empty slabs. It reports whether it freed anything.
func (c *Cache) makeSpace() bool {
	dropped := c.dropEmpties() + c.a.shards.dropEmpties(c)
	recovered, _, err := c.a.recoverOnce()
	for class := range layout.NumClasses {
		c.a.super.Orphans[class].StoreRelease(1)
	}
	return dropped > 0 || err == nil && recovered.Caches > 0
}

// dropEmpties gives all empty slabs of the cache back, except those in use by a bin.
func (c *Cache) dropEmpties() (n int) {
	for class := range c.bins {
		before := c.bins[class].queue.len()
		for range before {
			c.dropEmpty(class)
		}
		n += before - c.bins[class].queue.len()
	}
	return n
}

// queue is a ring of slab heads.
type queue struct {
	ring    []uint32
	head, n int
}

func (q *queue) len() int { return q.n }

func (q *queue) push(g uint64) {
	if q.n == len(q.ring) {
		grown := make([]uint32, max(8, 2*q.n))
		for i := range q.n {
			grown[i] = q.ring[(q.head+i)%len(q.ring)]
		}
		q.ring, q.head = grown, 0
	}
	q.ring[(q.head+q.n)%len(q.ring)] = uint32(g)
	q.n++
}

func (q *queue) pop() (uint64, bool) {
	if q.n == 0 {
		return 0, false
	}
	g := q.ring[q.head]
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	return uint64(g), true
}
