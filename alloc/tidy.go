package alloc

import (
	"github.com/shmheap/shmheap/internal/layout"
)

// An empty slab that somebody holds is room that others may need. The one that a bin takes from stays; the others
// go back when their cache passes by, which is when it looks for blocks anyway:
//
//	a bin finds its next slab          the oldest of its other slabs
//	any refill                         a few slabs of the next class, by turns
//	somebody met ErrNoSpace            all slabs, once for each time: the pressure in the superblock has grown
//	makeSpace and Trim                 all slabs of this process's idle caches, and those of nobody
//
// A cache that is not used keeps what it has.

// tidyDepth is how many slabs of another class a refill looks at.
const tidyDepth = 4

// tidy gives back what the cache does not need. A refill calls it before it looks for blocks.
func (c *Cache) tidy() {
	if p := c.a.super.Pressure.Load(); p != c.pressure {
		c.pressure = p
		c.dropEmpties()
		return
	}
	c.tidied = (c.tidied + 1) % layout.NumClasses
	b := &c.common().all[c.tidied]
	for range min(tidyDepth, b.queue.len()) {
		c.dropEmpty(b)
	}
}

// dropEmpties gives all empty slabs of the cache back, except those in use by a bin.
func (c *Cache) dropEmpties() (n int) {
	for b := range c.everyBin {
		before := b.queue.len()
		for range before {
			c.dropEmpty(b)
		}
		n += before - b.queue.len()
	}
	return n
}

// dropEmpty gives the oldest slab of the queue back if it is empty.
func (c *Cache) dropEmpty(b *bin) {
	head, ok := b.queue.pop()
	if !ok {
		return
	}
	s := c.a.slab(head, b.state(c.id))
	if c.a.isUnused(s) {
		if b.collected += c.a.collect(s); c.a.isEmpty(s) && c.releaseSlab(b, s) == nil {
			return
		}
	}
	b.queue.push(head)
}

// dropOrphans gives the empty slabs back that nobody owns. It adopts each first, so that of several that do so at
// once one has it; what is not empty any more by then is left again.
func (c *Cache) dropOrphans() (n int) {
	a := c.a
	for g := a.first; g < a.frontier(); g++ {
		s := layout.State(a.states[g].Load())
		if s.Kind() != layout.KindSlab || s.Cache() != 0 || !s.Valid() || s.Run() > a.limit-g || !a.isUnused(a.slab(g, s)) {
			continue
		}
		v, ok := c.tryAdopt(s.Class(), s.Flags(), g)
		if !ok {
			continue
		}
		b := bin{class: s.Class(), flags: s.Flags()}
		if a.isEmpty(v) && c.releaseSlab(&b, v) == nil {
			n++
			continue
		}
		c.leaveSlab(v)
		a.disown(g, b.state(c.id)) //nolint:errcheck // a state that changed has another owner
	}
	return n
}

// isUnused reports whether all blocks are free, collected or not. In most slabs the first word says that they are not.
func (a *Allocator) isUnused(s slab) bool {
	p := &a.bitmap[s.class]
	for i := range s.local {
		if valid := p.valid(uint64(i)); (s.local[i].Load()|s.remote[i].Load())&valid != valid {
			return false
		}
	}
	return true
}
