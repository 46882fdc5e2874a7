package alloc

import (
	"math/bits"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// bitmapPlace says where the bitmaps of a class's slabs are: at local + granule * stride, and so on.
type bitmapPlace struct {
	local, published, remote uint64 // offsets of granule 0's
	stride                   uint64
	words                    uint64
	last                     uint64 // valid bits of the last word
}

func placeBitmap(g *layout.Geometry, class int) bitmapPlace {
	blocks := uint64(layout.Classes[class].Blocks)
	p := bitmapPlace{words: (blocks + 63) / 64, last: ^uint64(0) >> (-blocks % 64)}
	if layout.Classes[class].Fine {
		p.local, p.stride = g.Sections.Fine, layout.FineSize
		p.published = p.local + layout.FineWords*8
		p.remote = p.local + 2*layout.FineWords*8
	} else {
		p.local, p.stride = g.Sections.Slabs, layout.SlabSize
		p.published = p.local + layout.CoarseWords*8
		p.remote = p.local + 128
	}
	return p
}

// valid returns the bits of word i that stand for blocks.
func (p *bitmapPlace) valid(i uint64) uint64 {
	if i == p.words-1 {
		return p.last
	}
	return ^uint64(0)
}

// slab is a view of one slab: its head granule, its class and flags, and its bitmaps.
type slab struct {
	head      uint64
	class     int
	flags     layout.State
	local     []mem.Word
	published []mem.Word
	remote    []mem.Word
}

// slab views the slab at head, whose state must be valid.
func (a *Allocator) slab(head uint64, s layout.State) slab {
	p := &a.bitmap[s.Class()]
	return slab{
		head: head, class: s.Class(), flags: s.Flags(),
		local:     mem.Slice[mem.Word](a.memory, p.local+head*p.stride, p.words),
		published: mem.Slice[mem.Word](a.memory, p.published+head*p.stride, p.words),
		remote:    mem.Slice[mem.Word](a.memory, p.remote+head*p.stride, p.words),
	}
}

// countFree returns how many blocks are free, collected or not.
func (a *Allocator) countFree(s slab) (n uint64) {
	p := &a.bitmap[s.class]
	for i := range s.local {
		free := (s.local[i].Load() | s.remote[i].Load()) & p.valid(uint64(i))
		n += uint64(bits.OnesCount64(free))
	}
	return n
}

// countPrivate returns how many blocks are in use and die with the cache.
func (a *Allocator) countPrivate(s slab) (n uint64) {
	if s.flags&layout.FlagPrivate == 0 {
		return 0
	}
	p := &a.bitmap[s.class]
	for i := range s.local {
		kept := s.local[i].Load() | s.remote[i].Load() | s.published[i].Load()
		n += uint64(bits.OnesCount64(^kept & p.valid(uint64(i))))
	}
	return n
}

// collect makes the blocks that others freed allocatable. Only the owner may call it. Nothing is
// allocated from what it moves before it has returned, so it may be cut short anywhere and done again. It returns
// how many blocks those were.
func (a *Allocator) collect(s slab) (n uint64) {
	p := &a.bitmap[s.class]
	for i := range s.remote {
		r := s.remote[i].Load()
		if r == 0 {
			continue
		}
		before := s.local[i].Peek()
		moved := r & p.valid(uint64(i)) &^ before
		assertMoved(moved, before, p.valid(uint64(i)))
		n += uint64(bits.OnesCount64(moved))
		s.local[i].StoreRelease(before | moved)
		crashpoint.Hit("alloc.collect.after-local")
		if s.flags&layout.FlagPrivate != 0 {
			s.published[i].And(^r)
		}
		s.remote[i].And(^r)
		crashpoint.Hit("alloc.collect.after-remote")
	}
	return n
}

// isEmpty reports whether all blocks are free and collected. Only the owner may rely on it.
func (a *Allocator) isEmpty(s slab) bool {
	p := &a.bitmap[s.class]
	for i := range s.local {
		if s.local[i].Peek() != p.valid(uint64(i)) {
			return false
		}
	}
	return true
}

// hasFree reports whether a block could be allocated after collect.
func (a *Allocator) hasFree(s slab) bool {
	p := &a.bitmap[s.class]
	for i := range s.local {
		if (s.local[i].Peek()|s.remote[i].Load())&p.valid(uint64(i)) != 0 {
			return true
		}
	}
	return false
}

// newSlab claims and formats a slab for a bin. Killed before the state is published, the claimed run goes
// back; the bitmaps mean nothing without the state.
func (c *Cache) newSlab(b *bin) (slab, error) {
	a, own := c.a, b.state(c.id)
	head, err := c.claimCommitted(granules(own.Run()))
	if err != nil {
		return slab{}, err
	}
	p := &a.bitmap[b.class]
	if err := a.region.Commit(p.local+head*p.stride, p.stride); err != nil {
		return slab{}, c.abandon(head, own.Run(), err)
	}
	if err := a.commitSamples(head, own); err != nil {
		return slab{}, c.abandon(head, own.Run(), err)
	}
	s := a.slab(head, own)
	for i := range s.local {
		s.remote[i].StoreRelease(0)
		if own.Flags() != 0 {
			s.published[i].StoreRelease(0)
		}
		s.local[i].StoreRelease(p.valid(uint64(i)))
	}
	crashpoint.Hit("alloc.slab.after-format")
	a.states[head].Swap(uint64(own))
	crashpoint.Hit("alloc.slab.after-publish")
	c.enterSlab(s)
	return s, nil
}

// abandon gives a claimed run back after err.
func (c *Cache) abandon(head, n uint64, err error) error {
	if back := c.a.releaseRun(head, n); back != nil {
		return back
	}
	return err
}

// releaseSlab gives an empty slab's span back. Nobody else can free into it: all its blocks are free.
func (c *Cache) releaseSlab(b *bin, s slab) error {
	own := b.state(c.id)
	claimed := layout.MakeState(layout.KindClaimed, 0, c.id, own.Run())
	if !c.a.states[s.head].CompareAndSwap(uint64(own), uint64(claimed)) {
		return c.a.corrupt(s.head<<layout.GranuleShift, "state of an owned slab changed")
	}
	c.assertEmpty(b, s)
	c.leaveSlab(s)
	crashpoint.Hit("alloc.release.after-claim")
	return c.releaseSpan(s.head, own.Run())
}

// disown leaves a slab to whoever adopts it: hint first, so that a slab without an owner always has
// its hint. Blocks of a private slab that are not published become free with it. Killed in between,
// recovery does it again.
func (a *Allocator) disown(head uint64, own layout.State) error {
	if own.Flags()&layout.FlagPrivate != 0 {
		a.freeUnpublished(a.slab(head, own))
	}
	a.hintWord(own.Class(), head).Or(1 << (head % 64))
	crashpoint.Hit("alloc.disown.after-hint")
	if !a.states[head].CompareAndSwap(uint64(own), uint64(own.Disown())) {
		return a.corrupt(head<<layout.GranuleShift, "state of an owned slab changed")
	}
	crashpoint.Hit("alloc.disown.after-state")
	if w := &a.super.Orphans[own.Class()]; w.Load() == 0 {
		w.StoreRelease(1)
	}
	return nil
}

// freeUnpublished: what was published lives, the rest dies. Bits that are set in remote too do no harm, as
// whoever adopts the slab collects them before it allocates.
func (a *Allocator) freeUnpublished(s slab) {
	p := &a.bitmap[s.class]
	for i := range s.local {
		s.local[i].StoreRelease(s.local[i].Peek() | ^s.published[i].Load()&p.valid(uint64(i)))
		crashpoint.Hit("alloc.disown.after-unpublished")
	}
}

// hintWord is the word of the class's adoption hints that has the granule's bit.
func (a *Allocator) hintWord(class int, g uint64) *mem.Word {
	chunk := g / layout.ChunkGranules
	word := g % layout.ChunkGranules / 64
	return a.memory.Word(a.tables.Hints + chunk*layout.ChunkHintSize + (uint64(class)*layout.HintWords+word)*8)
}

// adopt takes over a slab of the class that nobody owns, if there is one. The word in Orphans is
// cleared before the search and set again after a find, so that it is 0 only when a search found
// nothing; a search that is killed leaves it to recovery.
// Slabs of samples are too few for the word to tell of them.
func (c *Cache) adopt(class int, flags layout.State) (slab, bool) {
	a := c.a
	if orphans := &a.super.Orphans[class]; flags == 0 && (orphans.Load() == 0 || orphans.Swap(0) == 0) {
		return slab{}, false
	}
	for g := a.first; g < a.frontier(); {
		word := a.hintWord(class, g).Load() >> (g % 64)
		if word == 0 {
			g = (g | 63) + 1
			continue
		}
		g += uint64(bits.TrailingZeros64(word))
		if s, ok := c.tryAdopt(class, flags, g); ok {
			a.super.Orphans[class].StoreRelease(1)
			return s, true
		}
		g++
	}
	return slab{}, false
}

func (c *Cache) tryAdopt(class int, flags layout.State, g uint64) (slab, bool) {
	a := c.a
	if g >= a.frontier() {
		return slab{}, false
	}
	n := uint64(layout.Classes[class].Granules)
	orphan := layout.MakeState(layout.KindSlab, class, 0, n) | flags
	if a.states[g].Load() != uint64(orphan) || !a.isWhole(g, n) {
		return slab{}, false
	}
	if !a.states[g].CompareAndSwap(uint64(orphan), uint64(orphan.Own(c.id))) {
		return slab{}, false
	}
	crashpoint.Hit("alloc.adopt.after-state")
	a.hintWord(class, g).And(^(uint64(1) << (g % 64)))
	crashpoint.Hit("alloc.adopt.after-hint")
	s := a.slab(g, orphan)
	c.enterSlab(s)
	a.collect(s)
	add(&c.record.Counts.Balance, a.countUsed(s))
	return s, true
}
