package alloc

import (
	"fmt"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// An exact operation moves a block between the allocator and a word in the heap so that recovery can
// tell at each point what is missing. The cache's record holds the intent: block, kind and word. The
// stores are release stores in this order:
//
//	allocInto                            killed behind it, recovery sees
//	  0 zero the block, still free       nothing
//	  1 intent word, 2 intent            the word is not the block: make sure the block is free
//	  3 take the block (bit or state)    the same
//	  4 *word = block                    the word is the block: keep it
//	  5 intent = 0                       nothing
//
//	freeFrom                             killed behind it, recovery sees
//	  1 intent word, 2 intent            the word is the block: nothing was done, keep it
//	  3 *word = 0                        the word is not the block: make sure the block is free
//	  4 free the block                   the same
//	  5 intent = 0                       nothing
//
// For a large block the state that claims it carries the duty to free it, and step 5 comes before the
// run is given back: a claimed run is freed by recovery, and a block that is still published was not
// freed. For a slab of this cache the bit decides, because nobody else could have allocated the
// block again. For another cache's slab a set bit means freed; a cleared one may be a block that is in
// use again, and is left alone: the one case in which a block leaks.

// wordAt validates the word that an exact operation works on: aligned, in a block of the heap.
func (a *Allocator) wordAt(off uint64) (*mem.Word, error) {
	g := off >> layout.GranuleShift
	if off%8 != 0 || g < a.first || g >= a.frontier() || !a.region.IsCommitted(off) {
		return nil, fmt.Errorf("word at %#x: %w", a.address(off), ErrNotInHeap)
	}
	return a.memory.Word(off), nil
}

func (c *Cache) setIntent(off, kind, word uint64) {
	c.record.IntentWord.StoreRelease(word)
	c.record.Intent.StoreRelease(off | kind)
}

func (c *Cache) clearIntent() { c.record.Intent.StoreRelease(0) }

// allocInto allocates size zeroed bytes and stores the block's address in the word at offset at, which
// must be nil.
func (c *Cache) allocInto(at, size uint64) error {
	w, err := c.a.wordAt(at)
	switch {
	case err != nil:
		return err
	case c.closed:
		return ErrClosed
	case w.Load() != 0:
		return fmt.Errorf("word at %#x: %w", c.a.address(at), ErrOccupied)
	case size > layout.MaxSmall:
		return c.allocLargeInto(w, at, size)
	}
	class := layout.ClassOf(size)
	off, bit, err := c.peekBlock(class)
	if err != nil {
		return err
	}
	clear(c.a.memory.Bytes(off, size))
	c.setIntent(off, layout.IntentAlloc, at)
	crashpoint.Hit("alloc.into.after-intent")
	b := &c.bins[class]
	b.word.StoreRelease(b.word.Peek() &^ bit)
	crashpoint.Hit("alloc.into.after-take")
	c.finishInto(w, off)
	return nil
}

func (c *Cache) allocLargeInto(w *mem.Word, at, size uint64) error {
	head, n, err := c.claimLarge(size)
	if err != nil {
		return err
	}
	off := head << layout.GranuleShift
	clear(c.a.memory.Bytes(off, size))
	c.setIntent(off, layout.IntentAlloc, at)
	crashpoint.Hit("alloc.into.after-intent")
	c.publishLarge(head, n)
	c.finishInto(w, off)
	return nil
}

func (c *Cache) finishInto(w *mem.Word, off uint64) {
	w.StoreRelease(c.a.address(off))
	crashpoint.Hit("alloc.into.after-store")
	c.clearIntent()
}

// freeFrom clears the word at offset at and frees the block that it led to. A nil word is left alone.
func (c *Cache) freeFrom(at uint64) error {
	w, err := c.a.wordAt(at)
	if err != nil || w.Load() == 0 {
		return err
	}
	off := w.Load() - c.a.address(0)
	b, err := c.a.locate(off)
	switch {
	case err != nil:
		return err
	case c.closed:
		return ErrClosed
	case b.local != nil && b.isFree():
		return fmt.Errorf("%#x: %w", c.a.address(off), ErrDoubleFree)
	}
	if b.local != nil && b.state.Cache() == 0 {
		c.adoptSlabOf(&b)
	}
	c.setIntent(off, layout.IntentFree, at)
	crashpoint.Hit("alloc.from.after-intent")
	w.StoreRelease(0)
	crashpoint.Hit("alloc.from.after-clear")
	if b.local == nil {
		return c.freeLargeFrom(&b)
	}
	err = c.freeBlock(&b, off)
	crashpoint.Hit("alloc.from.after-free")
	c.clearIntent()
	return err
}

// adoptSlabOf tries to make a slab of nobody this cache's, so that a free into it can be exact.
func (c *Cache) adoptSlabOf(b *block) {
	if s, ok := c.tryAdopt(b.state.Class(), b.head); ok {
		c.bins[s.class].queue.push(s.head)
		b.state = c.ownState(s.class)
	}
}

func (c *Cache) freeLargeFrom(b *block) error {
	err := c.claimedLarge(b.head, b.state)
	c.clearIntent()
	if err != nil {
		return err
	}
	crashpoint.Hit("alloc.from.after-claim")
	return c.releaseLarge(b.head, b.state.Run())
}

// settle completes or undoes the exact operation that a dead cache had under way. It may be called any
// number of times. It runs before the cache's slabs are disowned and its claimed runs are given back.
func (a *Allocator) settle(id uint16) {
	record := &a.caches[id]
	intent := record.Intent.Load()
	if intent == 0 {
		return
	}
	off, at := intent&^layout.IntentMask, record.IntentWord.Load()
	if w, err := a.wordAt(at); err != nil || w.Load() != a.address(off) {
		a.settleFree(id, off)
	}
	crashpoint.Hit("alloc.settle.before-clear")
	record.Intent.StoreRelease(0)
}

// settleFree makes sure that a block is free, as far as that can be known: see above.
func (a *Allocator) settleFree(id uint16, off uint64) {
	b, err := a.locate(off)
	switch {
	case err != nil: // claimed, or free already, or nonsense
	case b.local == nil:
		claimed := layout.MakeState(layout.KindClaimed, 0, id, b.state.Run())
		a.states[b.head].CompareAndSwap(uint64(b.state), uint64(claimed))
	case b.state.Cache() == id:
		b.local.StoreRelease(b.local.Peek() | b.bit)
	}
}
