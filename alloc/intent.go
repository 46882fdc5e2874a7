package alloc

import (
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// An exact operation moves a block between the allocator and a word in the heap so that recovery can
// tell at each point what is missing. The cache's record holds the intent: block, kind and word. The
// stores happen in this order:
//
//	allocInto                            killed behind it, recovery sees
//	  0 zero the block, still free       nothing
//	  1 intent word, 2 intent            the word is nil: make sure the block is free
//	  3 take the block (bit or state)    the same
//	  4 CAS *word from nil to the block  the word is not nil: keep the block
//	  5 intent = 0                       nothing
//
//	freeFrom, slab of this cache         killed behind it, recovery sees
//	  1 intent word, 2 intent            the bit is clear: nothing was done
//	  3 set the bit: the block is free   the bit is set: clear the word if it still is the block
//	  4 *word = 0                        the same
//	  5 intent = 0                       nothing
//
//	freeFrom, large block: the same with "claimed by this cache" for the bit. Step 5 comes before the
//	run is given back, which is the claim's business.
//
//	freeFrom, slab of another cache
//	  1 intent word, 2 intent            nothing is ever done: either the word is the block still,
//	  3 *word = 0                        or the block is free, or, killed between 3 and 4, it leaks,
//	  4 OR the bit: the block is free    because a clear bit may also mean that the block is in use
//	  5 intent = 0                       again
//
// In step 3 of the first two the block is free and the word still leads to it, but only this cache could
// allocate it again. The words belong to the caller alone until the operation returns or, if it dies,
// until a Recover that began after its death has returned: somebody who moves the pointer elsewhere in
// between takes a block that recovery may free.

// wordAt validates the word that an exact operation works on: aligned, in a block of the heap.
func (a *Allocator) wordAt(off uint64) (*mem.Word, error) {
	g := off >> layout.GranuleShift
	if off%8 != 0 || g < a.first || g >= a.frontier() || !a.hasStorage(g) {
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
	if c.closed {
		return ErrClosed
	}
	w, err := c.a.wordAt(at)
	switch {
	case err != nil:
		return err
	case w.Load() != 0:
		return c.occupied(at)
	case size > layout.MaxSmall:
		return c.allocLargeInto(w, at, size)
	}
	b, off, bit, err := c.peekShared(size)
	if err != nil {
		return err
	}
	clear(c.a.memory.Bytes(off, size))
	c.setIntent(off, layout.IntentAlloc, at)
	crashpoint.Hit("alloc.into.after-intent")
	b.takeBit(bit)
	crashpoint.Hit("alloc.into.after-take")
	if !c.finishInto(w, off) {
		b.word.StoreRelease(b.word.Peek() | bit)
		c.clearIntent()
		return c.occupied(at)
	}
	return nil
}

func (c *Cache) allocLargeInto(w *mem.Word, at, size uint64) error {
	head, n, err := c.claimLarge(size, 1)
	if err != nil {
		return err
	}
	off := head << layout.GranuleShift
	clear(c.a.memory.Bytes(off, size))
	c.setIntent(off, layout.IntentAlloc, at)
	crashpoint.Hit("alloc.into.after-intent")
	c.publishLarge(head, n, 0)
	if c.finishInto(w, off) {
		return nil
	}
	err = c.claimLargeBlock(head, layout.MakeState(layout.KindLarge, 0, 0, n))
	c.clearIntent()
	if err == nil {
		err = c.releaseSpan(head, n)
	}
	return errors.Join(c.occupied(at), err)
}

// finishInto reports false when somebody else has stored into the word meanwhile. Then the intent is
// still there.
func (c *Cache) finishInto(w *mem.Word, off uint64) bool {
	if !w.CompareAndSwap(0, c.a.address(off)) {
		return false
	}
	crashpoint.Hit("alloc.into.after-store")
	c.clearIntent()
	return true
}

func (c *Cache) occupied(at uint64) error {
	return fmt.Errorf("word at %#x: %w", c.a.address(at), ErrOccupied)
}

// freeFrom clears the word at offset at and frees the block that it led to. A nil word is left alone.
func (c *Cache) freeFrom(at uint64) error {
	if c.closed {
		return ErrClosed
	}
	w, err := c.a.wordAt(at)
	if err != nil || w.Load() == 0 {
		return err
	}
	off := w.Load() - c.a.address(0)
	b, err := c.a.locate(off)
	switch {
	case err != nil:
		return err
	case b.local == nil:
		return c.freeLargeFrom(w, at, &b)
	case b.isFree():
		return fmt.Errorf("%#x: %w", c.a.address(off), ErrDoubleFree)
	}
	if err := c.overrun(off, b.size()); err != nil {
		return err
	}
	if b.state.Cache() == 0 {
		c.adoptSlabOf(&b)
	}
	c.setIntent(off, layout.IntentFree, at)
	crashpoint.Hit("alloc.from.after-intent")
	if b.state.Cache() == c.id {
		c.freeOwnFrom(w, &b)
	} else {
		w.StoreRelease(0)
		crashpoint.Hit("alloc.from.after-clear")
		err = c.freeBlock(&b, off)
	}
	crashpoint.Hit("alloc.from.after-free")
	c.clearIntent()
	return err
}

func (c *Cache) freeOwnFrom(w *mem.Word, b *block) {
	b.local.StoreRelease(b.local.Peek() | b.bit)
	crashpoint.Hit("alloc.from.after-bit")
	w.StoreRelease(0)
	b.unpublish()
}

// adoptSlabOf tries to make a slab of nobody this cache's, so that a free into it can be exact.
func (c *Cache) adoptSlabOf(b *block) {
	kind, flags := c.common(), b.state.Flags()&layout.FlagSampled
	if flags != 0 {
		kind = c.sampledBins()
	}
	if s, ok := c.tryAdopt(b.state.Class(), flags, b.head); ok {
		own := &kind.all[s.class]
		own.queue.push(s.head)
		b.state = own.state(c.id)
	}
}

func (c *Cache) freeLargeFrom(w *mem.Word, at uint64, b *block) error {
	c.setIntent(b.head<<layout.GranuleShift, layout.IntentFree, at)
	crashpoint.Hit("alloc.from.before-claim")
	if err := c.claimLargeBlock(b.head, b.state); err != nil {
		c.clearIntent()
		return err
	}
	w.StoreRelease(0)
	crashpoint.Hit("alloc.from.after-large")
	c.clearIntent()
	add(&c.record.Counts.LargeFree, 1)
	return c.releaseSpan(b.head, b.state.Run())
}

// settle completes or undoes the exact operation that a dead cache had under way. It may be called any
// number of times. It runs before the cache's slabs are disowned and its claimed runs are given back.
func (a *Allocator) settle(id uint16) {
	record := &a.caches[id]
	intent := record.Intent.Load()
	if intent == 0 {
		return
	}
	off, word := intent&^layout.IntentMask, record.IntentWord.Load()
	switch kind := intent & layout.IntentMask; kind {
	case layout.IntentGrow, layout.IntentShrink:
		a.settleResize(id, unpackResizing(off, kind, word))
	default:
		a.settleWord(id, off, word, kind)
	}
	crashpoint.Hit("alloc.settle.before-clear")
	record.Intent.StoreRelease(0)
}

// settleWord settles an operation that moves a block to or from a word.
func (a *Allocator) settleWord(id uint16, off, word, kind uint64) {
	w, err := a.wordAt(word)
	if err != nil {
		return
	}
	switch kind {
	case layout.IntentAlloc:
		if w.Load() == 0 {
			a.settleAlloc(id, off)
		}
	case layout.IntentFree:
		if a.wasFreed(id, off) {
			w.CompareAndSwap(a.address(off), 0)
		}
	case layout.IntentMove:
		a.settleMove(id, w, off)
	}
}

// settleAlloc makes sure that a block whose address was stored nowhere is free.
func (a *Allocator) settleAlloc(id uint16, off uint64) {
	b, err := a.locate(off)
	switch {
	case errors.Is(err, ErrInArena):
		a.settleArena(id, off)
	case err != nil: // claimed still, or nonsense
	case b.local == nil:
		claimed := layout.MakeState(layout.KindClaimed, 0, id, b.state.Run())
		a.states[b.head].CompareAndSwap(uint64(b.state), uint64(claimed))
	case b.state.Cache() == id:
		b.local.StoreRelease(b.local.Peek() | b.bit)
	}
}

// wasFreed reports whether a dead cache got as far as freeing a block of its own: its bit is set, or it
// is the head of a run that the cache has claimed.
func (a *Allocator) wasFreed(id uint16, off uint64) bool {
	if g := off >> layout.GranuleShift; g >= a.first && g < a.frontier() {
		if s := layout.State(a.states[g].Load()); s.Kind() == layout.KindClaimed {
			return s.Cache() == id
		}
	}
	b, err := a.locate(off)
	return err == nil && b.local != nil && b.state.Cache() == id && b.isFree()
}
