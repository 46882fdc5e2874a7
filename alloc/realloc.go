package alloc

import (
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// A large block grows and shrinks in place when the granules behind it are free. The piece that comes or goes,
// [lo, hi) from the head, is a claimed run of the cache while it is not the block's, and the block itself is
// claimed while its words change, so that all of them belong to one cache. The intent says what they are to be;
// its two last steps may be done again.
//
//	grow                                  killed behind it, recovery sees
//	  1 claim the piece                   a claimed run: gives it back
//	  2 intent                            the same
//	  3 CAS the head to claimed           the head claimed by the dead: does 4 and 5
//	  4 the piece's states to tails       the same
//	  5 head = block of hi granules       nothing
//	  6 intent = 0                        nothing
//
//	shrink
//	  2 intent                            the head is the block's: nothing was done
//	  3 CAS the head to claimed           the head claimed by the dead: does 4 and 5
//	  4 the piece's states to a claimed   the same
//	    run, its head last
//	  5 head = block of lo granules       a claimed run: gives it back
//	  6 intent = 0, 7 free the piece      the same
//
// Between 3 and 5 the block is no block for others. A private block is left claimed in step 5 of recovery and
// dies.

// resize makes a large block of this cache or of nobody n granules long, in place. It reports false when that
// cannot be done, and has changed nothing then.
func (c *Cache) resize(b *block, n uint64) (bool, error) {
	a, run := c.a, b.state.Run()
	switch owner := b.state.Cache(); {
	case n == run:
		return true, nil
	case owner != 0 && owner != c.id:
		return false, nil
	case !a.isWhole(b.head, run):
		return false, a.corrupt(b.head<<layout.GranuleShift, "block of %d granules is not whole", run)
	case n > run && !c.claimBehind(b.head, run, n):
		return false, nil
	}
	r := resizing{head: b.head, lo: min(n, run), hi: max(n, run), grow: n > run, private: b.state.Cache() != 0}
	c.record.IntentWord.StoreRelease(r.word())
	c.record.Intent.StoreRelease(r.head<<layout.GranuleShift | r.kind())
	crashpoint.Hit("alloc.resize.after-intent")
	if !a.states[b.head].CompareAndSwap(uint64(b.state), uint64(layout.MakeState(layout.KindClaimed, 0, c.id, run))) {
		c.clearIntent()
		return false, errors.Join(a.notAllocated(b.head<<layout.GranuleShift), c.dropPiece(r))
	}
	crashpoint.Hit("alloc.resize.after-claim")
	a.moveBoundary(r, c.id)
	a.states[b.head].Swap(uint64(layout.MakeState(layout.KindLarge, 0, b.state.Cache(), n)))
	crashpoint.Hit("alloc.resize.after-head")
	c.clearIntent()
	if r.grow {
		return true, nil
	}
	return true, c.releaseSpan(r.head+r.lo, r.hi-r.lo)
}

// resizing is the intent of growing or shrinking the block at head between lo and hi granules.
type resizing struct {
	head, lo, hi  uint64
	grow, private bool
}

func (r *resizing) kind() uint64 {
	if r.grow {
		return layout.IntentGrow
	}
	return layout.IntentShrink
}

// word packs the rest: lo in bits 0 to 30, hi in bits 32 to 62, private in bit 63.
func (r *resizing) word() uint64 {
	word := r.lo | r.hi<<32
	if r.private {
		word |= 1 << 63
	}
	return word
}

func unpackResizing(off, kind, word uint64) resizing {
	return resizing{
		head: off >> layout.GranuleShift, lo: word & (1<<31 - 1), hi: word >> 32 & (1<<31 - 1),
		grow: kind == layout.IntentGrow, private: word>>63 != 0,
	}
}

// claimBehind claims the granules from run to n behind a block's head, with storage.
func (c *Cache) claimBehind(head, run, n uint64) (ok bool) {
	a := c.a
	if a.quota.reserve(a, n-run) != nil {
		return false
	}
	defer func() { a.quota.settle(n-run, ok) }()
	for head+n > a.frontier() {
		if head+n > a.limit || a.extend(a.frontier()) != nil {
			return false
		}
	}
	piece, more := head+run, n-run
	if c.tryClaim(piece, more) != more {
		return false
	}
	if c.supply(piece, more) != nil {
		a.releaseRun(piece, more) //nolint:errcheck // it was claimed a moment ago
		return false
	}
	return true
}

// dropPiece gives back what grow claimed.
func (c *Cache) dropPiece(r resizing) error {
	if !r.grow {
		return nil
	}
	return c.releaseSpan(r.head+r.lo, r.hi-r.lo)
}

// moveBoundary is step 4: it makes the piece the block's, or a claimed run of its own. All of it belongs to the
// cache id, alive or dead.
func (a *Allocator) moveBoundary(r resizing, id uint16) {
	from := r.head
	if !r.grow {
		from += r.lo
	}
	for g := r.head + r.hi - 1; g >= r.head+r.lo; g-- {
		state := layout.MakeState(layout.KindTail, 0, 0, g-from)
		if g == from {
			state = layout.MakeState(layout.KindClaimed, 0, id, r.hi-r.lo)
		}
		a.states[g].StoreRelease(uint64(state))
		crashpoint.Hit("alloc.resize.after-tail")
	}
}

// settleResize does steps 4 and 5 for a dead cache that got as far as step 3.
func (a *Allocator) settleResize(id uint16, r resizing) {
	if r.head < a.first || r.head >= a.frontier() || r.lo == 0 || r.lo >= r.hi || r.hi > a.frontier()-r.head {
		return
	}
	old, next := r.lo, r.hi
	if !r.grow {
		old, next = r.hi, r.lo
	}
	if a.states[r.head].Load() != uint64(layout.MakeState(layout.KindClaimed, 0, id, old)) || !a.ownsPiece(r, id) {
		return
	}
	a.moveBoundary(r, id)
	state := layout.MakeState(layout.KindLarge, 0, 0, next)
	if r.private {
		state = layout.MakeState(layout.KindClaimed, 0, id, next)
	}
	a.states[r.head].Swap(uint64(state))
	crashpoint.Hit("alloc.settle.after-resize")
}

// ownsPiece reports whether every granule of the piece is one that step 4 may find or leave: a damaged intent
// must not turn what is somebody else's into tails.
func (a *Allocator) ownsPiece(r resizing, id uint16) bool {
	for i := r.lo; i < r.hi; i++ {
		s := layout.State(a.states[r.head+i].Load())
		switch {
		case s == layout.MakeState(layout.KindTail, 0, 0, i): // the block's
		case i > r.lo && s == layout.MakeState(layout.KindTail, 0, 0, i-r.lo): // the piece's
		case i == r.lo && s == layout.MakeState(layout.KindClaimed, 0, id, r.hi-r.lo):
		default:
			return false
		}
	}
	return true
}

// realloc makes the block at off at least size bytes long, in place or by moving what fits of its bytes to
// another, and returns where it is then. Private blocks stay private.
func (c *Cache) realloc(off, size uint64) (uint64, error) {
	if c.closed {
		return 0, ErrClosed
	}
	b, usable, err := c.a.locateUsed(off)
	if err != nil {
		return 0, err
	}
	if asked, guarded := c.guarded(off); guarded {
		usable = asked
	}
	if stays, err := c.fits(&b, usable, size); stays || err != nil {
		return off, err
	}
	next, err := c.allocLike(&b, size)
	if err != nil {
		return 0, err
	}
	c.copyBlock(next, off, min(usable, size))
	crashpoint.Hit("alloc.realloc.after-copy")
	if err := c.freeAny(off); err != nil { // somebody freed it meanwhile
		return 0, errors.Join(err, c.freeAny(next))
	}
	return next, nil
}

// locateUsed is locate for a block that is in use, with its size.
func (a *Allocator) locateUsed(off uint64) (block, uint64, error) {
	b, err := a.locate(off)
	switch {
	case err != nil:
		return b, 0, err
	case b.local != nil && b.isFree():
		return b, 0, a.notAllocated(off)
	}
	return b, b.size(), nil
}

// fits reports whether the block can be size bytes long where it is: with less than half of a small one to spare,
// or by resizing a large one. What is a guard of another cache only that cache knows, so a careful one moves the blocks
// of others.
func (c *Cache) fits(b *block, usable, size uint64) (bool, error) {
	if c.careful != nil && b.local != nil && b.state.Cache() != c.id {
		return false, nil
	}
	if b.local != nil {
		return size <= usable && (size > usable/2 || usable == minAlign), nil
	}
	if size <= layout.MaxSmall || size > c.a.limit<<layout.GranuleShift {
		return false, nil
	}
	return c.resize(b, granulesOf(size))
}

// allocLike allocates a block that is private if b is.
func (c *Cache) allocLike(b *block, size uint64) (uint64, error) {
	private := b.local == nil && b.state.Cache() != 0
	if b.state.Flags()&layout.FlagPrivate != 0 {
		private = b.public.Load()&b.bit == 0
	}
	if private {
		return c.allocPrivate(size)
	}
	return c.alloc(size)
}

func (c *Cache) copyBlock(to, from, n uint64) {
	copy(c.a.memory.Bytes(to, n), c.a.memory.Bytes(from, n))
}

// reallocInto is realloc for the block that the word at offset at leads to, and the exact operation that moves the
// word along:
//
//	                                   killed behind it, recovery sees
//	0 copy to a block, still free      nothing
//	1 old, word and intent             the word is the old block: make sure that the new one is free
//	2 take the new block               the same
//	3 CAS *word from old to new        the word is the new block: make sure that the old one is free
//	4 free the old one                 the same; nobody else can have got it in between, as it is a block of
//	                                   a slab of this cache, or a large one that is claimed until
//	5 intent = 0                       nothing
//
// An old block in a slab of another cache is freed behind step 5: killed in between, it leaks.
func (c *Cache) reallocInto(at, size uint64) error {
	if c.closed {
		return ErrClosed
	}
	w, err := c.a.wordAt(at)
	if err != nil {
		return err
	}
	off := w.Load() - c.a.address(0)
	b, usable, err := c.a.locateUsed(off)
	if err != nil {
		return err
	}
	if asked, guarded := c.guarded(off); guarded {
		usable = asked
	}
	if stays, err := c.fits(&b, usable, size); stays || err != nil {
		return err
	}
	if err := c.overrun(off, b.size()); err != nil {
		return err
	}
	if b.local != nil && b.state.Cache() == 0 {
		c.adoptSlabOf(&b)
	}
	next, take, err := c.reserve(size)
	if err != nil {
		return err
	}
	c.copyBlock(next, off, min(usable, size))
	c.record.IntentOld.StoreRelease(off)
	c.setIntent(next, layout.IntentMove, at)
	crashpoint.Hit("alloc.move.after-intent")
	take()
	crashpoint.Hit("alloc.move.after-take")
	if !w.CompareAndSwap(c.a.address(off), c.a.address(next)) {
		err := errors.Join(c.occupied(at), c.freeAny(next))
		c.clearIntent()
		return err
	}
	return c.freeMoved(&b, off)
}

// reserve finds a free block that only this cache can allocate, and returns what allocates it.
func (c *Cache) reserve(size uint64) (off uint64, take func(), err error) {
	if size <= layout.MaxSmall {
		b, off, bit, err := c.peekShared(size)
		return off, func() { b.takeBit(bit) }, err
	}
	head, n, err := c.claimLarge(size, 1)
	return head << layout.GranuleShift, func() { c.publishLarge(head, n, 0) }, err
}

// freeMoved is steps 4 and 5.
func (c *Cache) freeMoved(b *block, off uint64) error {
	if b.local != nil && b.state.Cache() != c.id {
		crashpoint.Hit("alloc.move.before-free")
		c.clearIntent()
		return c.freeBlock(b, off)
	}
	crashpoint.Hit("alloc.move.after-store")
	if b.local == nil {
		err := c.claimLargeBlock(b.head, b.state)
		c.clearIntent()
		if err != nil {
			return err
		}
		return c.releaseSpan(b.head, b.state.Run())
	}
	err := c.freeAny(off)
	crashpoint.Hit("alloc.move.after-free")
	c.clearIntent()
	return err
}

// settleMove undoes or completes a dead cache's reallocInto.
func (a *Allocator) settleMove(id uint16, w *mem.Word, next uint64) {
	old := a.caches[id].IntentOld.Load()
	switch w.Load() {
	case a.address(old):
		a.settleAlloc(id, next)
	case a.address(next):
		a.settleAlloc(id, old)
	}
}

func reallocError(size uint64, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("reallocate to %d bytes: %w", size, err)
}
