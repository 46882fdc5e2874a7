package alloc

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// Cache allocates from slabs of its own. One goroutine may use it at a time; different caches are
// independent, in one process and across processes. Its record lies in the heap, so that survivors
// can return everything it held when its process dies.
type Cache struct {
	a      *Allocator
	id     uint16
	record *layout.Cache
	closed bool
	bins   [layout.NumClasses]bin
}

// bin is what a cache has of one size class. Only the words behind word live in the heap: the rest is
// found again by looking, or by whoever adopts the slabs.
type bin struct {
	word  *mem.Word // the local bitmap word that Alloc takes from; noBlocks when there is none
	valid uint64    // bits of word that stand for blocks
	first uint64    // offset of the block of bit 0
	size  uint64    // of a block
	slab  slab      // the slab of word; its local is nil when there is none
	index int       // of word in slab
	queue queue     // the other slabs of the class, in the order of their last use
	depth int       // how many of them refill looks at
}

// noBlocks is the word of a bin that has no slab.
var noBlocks mem.Word

// NewCache makes a cache. Close returns what it holds; the allocator's Close does it too. It returns
// ErrTooManyCaches, ErrNoSpace or ErrClosed. Killed in between, the record belongs to a dead peer.
func (a *Allocator) NewCache() (*Cache, error) {
	if err := a.enter(); err != nil {
		return nil, fmt.Errorf("new cache: %w", err)
	}
	defer a.leave()
	c, err := a.newCache()
	if err != nil {
		return nil, fmt.Errorf("new cache: %w", err)
	}
	return c, nil
}

func (a *Allocator) newCache() (*Cache, error) {
	c, err := a.takeRecord()
	if errors.Is(err, ErrTooManyCaches) { // dead peers may have them
		a.recoverOnce()
		c, err = a.takeRecord()
	}
	if err != nil {
		return nil, err
	}
	for class := range c.bins {
		c.bins[class] = bin{word: &noBlocks, size: uint64(layout.Classes[class].Size), depth: queueDepth}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		c.record.Owner.StoreRelease(0)
		return nil, ErrClosed
	}
	a.open[c] = struct{}{}
	return c, nil
}

func (a *Allocator) takeRecord() (*Cache, error) {
	own := cacheOwner(layout.CacheOwned, a.region.Peer())
	for id := 1; id < len(a.caches); id++ {
		off := a.tables.Caches + uint64(id)*layout.CacheSize
		if err := a.region.Commit(off, layout.CacheSize); err != nil {
			return nil, err
		}
		record := &a.caches[id]
		if record.Owner.Load() == 0 && record.Owner.CompareAndSwap(0, own) {
			crashpoint.Hit("alloc.cache.after-owner")
			record.Intent.StoreRelease(0)
			return &Cache{a: a, id: uint16(id), record: record}, nil
		}
	}
	return nil, fmt.Errorf("%w: all %d are taken", ErrTooManyCaches, len(a.caches)-1)
}

// cacheOwner packs the word that says who owns a cache record.
func cacheOwner(state uint64, p heap.PeerID) uint64 {
	return state | uint64(p.Slot())<<layout.CacheSlotShift | uint64(p.Generation())<<layout.CacheGenShift
}

func ownerPeer(owner uint64) heap.PeerID {
	return heap.MakePeerID(uint16(owner>>layout.CacheSlotShift), uint32(owner>>layout.CacheGenShift))
}

// alloc returns the offset of a block of at least size bytes.
func (c *Cache) alloc(size uint64) (uint64, error) {
	if size > layout.MaxSmall {
		return c.allocBig(size)
	}
	class := layout.ClassOf(size)
	b := &c.bins[class]
	if w := b.word.Peek() & b.valid; w != 0 {
		b.word.Set(w & (w - 1))
		return b.first + uint64(bits.TrailingZeros64(w))*b.size, nil
	}
	return c.allocSlow(class)
}

func (c *Cache) allocSlow(class int) (uint64, error) {
	off, bit, err := c.peekBlock(class)
	if err != nil {
		return 0, err
	}
	b := &c.bins[class]
	b.word.Set(b.word.Peek() &^ bit)
	return off, nil
}

// peekBlock returns the block that the next allocation of the class will take, and its bit in the
// bin's word, after a refill if need be.
func (c *Cache) peekBlock(class int) (off, bit uint64, err error) {
	b := &c.bins[class]
	if b.word.Peek()&b.valid == 0 {
		if err := c.refill(class); err != nil {
			return 0, 0, err
		}
	}
	w := b.word.Peek() & b.valid
	if w == 0 {
		return 0, 0, c.a.corrupt(b.first, "free blocks of a slab vanish")
	}
	i := bits.TrailingZeros64(w)
	return b.first + uint64(i)*b.size, 1 << i, nil
}

func (c *Cache) allocBig(size uint64) (uint64, error) {
	if c.closed {
		return 0, ErrClosed
	}
	return c.allocLarge(size)
}

// block is what a pointer leads to: a block of a slab, or a large block, which has no word.
type block struct {
	state  layout.State
	head   uint64
	bit    uint64
	local  *mem.Word
	remote *mem.Word
}

// locate finds the block that begins at off, from descriptors alone. Anything else is ErrNotAllocated. A
// block of a slab may be free: see isFree.
func (a *Allocator) locate(off uint64) (block, error) {
	g := off >> layout.GranuleShift
	if g < a.first || g >= a.frontier() {
		return block{}, a.notAllocated(off)
	}
	s := layout.State(a.states[g].Load())
	if s.Kind() == layout.KindTail {
		if s.Distance() > g-a.first {
			return block{}, a.corrupt(g<<layout.GranuleShift, "tail state %#x", uint64(s))
		}
		g -= s.Distance()
		s = layout.State(a.states[g].Load())
	}
	switch {
	case s.Kind() != layout.KindSlab && s.Kind() != layout.KindLarge:
		return block{}, a.notAllocated(off)
	case !s.Valid() || s.Run() > a.limit-g:
		return block{}, a.corrupt(g<<layout.GranuleShift, "state %#x", uint64(s))
	case s.Kind() == layout.KindSlab:
		return a.locateInSlab(s, g, off)
	case off != g<<layout.GranuleShift:
		return block{}, a.notAllocated(off)
	}
	return block{state: s, head: g}, nil
}

func (a *Allocator) locateInSlab(s layout.State, g, off uint64) (block, error) {
	class := &layout.Classes[s.Class()]
	rel := off - g<<layout.GranuleShift
	i := rel * uint64(class.Recip) >> 32
	if i*uint64(class.Size) != rel || i >= uint64(class.Blocks) {
		return block{}, a.notAllocated(off)
	}
	p := &a.bitmap[s.Class()]
	at := g*p.stride + i/64*8
	return block{
		state: s, head: g, bit: 1 << (i % 64),
		local: a.memory.Word(p.local + at), remote: a.memory.Word(p.remote + at),
	}, nil
}

func (a *Allocator) notAllocated(off uint64) error {
	return fmt.Errorf("%#x: %w", a.address(off), ErrNotAllocated)
}

// isFree reports whether the block of a slab is free, here or with its owner.
func (b *block) isFree() bool { return (b.local.Load()|b.remote.Load())&b.bit != 0 }

// free frees the block that begins at off.
func (c *Cache) free(off uint64) error {
	if c.freeOwn(off) {
		return nil
	}
	return c.freeAny(off)
}

// freeOwn frees a block in the first granule of a slab of this cache, and reports whether it did. It is
// the short way of freeAny, for what is freed most.
func (c *Cache) freeOwn(off uint64) bool {
	a, g := c.a, off>>layout.GranuleShift
	if c.closed || g < a.first || g >= a.super.Frontier.Load() || g >= a.limit {
		return false
	}
	s := layout.State(a.states[g].Load())
	if s.Kind() != layout.KindSlab || s.Cache() != c.id || s.Class() >= layout.NumClasses {
		return false
	}
	class := &layout.Classes[s.Class()]
	rel := off & (layout.GranuleSize - 1)
	i := rel * uint64(class.Recip) >> 32
	if i*uint64(class.Size) != rel || i >= uint64(class.Blocks) {
		return false
	}
	p := &a.bitmap[s.Class()]
	at, bit := g*p.stride+i/64*8, uint64(1)<<(i%64)
	local := a.memory.Word(p.local + at)
	w := local.Peek()
	if (w|a.memory.Word(p.remote+at).Load())&bit != 0 {
		return false
	}
	local.Set(w | bit)
	return true
}

func (c *Cache) freeAny(off uint64) error {
	if c.closed {
		return ErrClosed
	}
	b, err := c.a.locate(off)
	switch {
	case err != nil:
		return err
	case b.local == nil:
		if err := c.claimLargeBlock(b.head, b.state); err != nil {
			return err
		}
		return c.releaseLarge(b.head, b.state.Run())
	case b.isFree():
		return fmt.Errorf("%#x: %w", c.a.address(off), ErrDoubleFree)
	}
	return c.freeBlock(&b, off)
}

// freeBlock sets the block's bit: the one store that frees it.
func (c *Cache) freeBlock(b *block, off uint64) error {
	if b.state.Cache() == c.id {
		b.local.Set(b.local.Peek() | b.bit)
		return nil
	}
	if b.remote.Or(b.bit)&b.bit != 0 {
		return fmt.Errorf("%#x: %w", c.a.address(off), ErrDoubleFree)
	}
	crashpoint.Hit("alloc.free.after-remote")
	return nil
}

// usableSize returns how many bytes the block that begins at off has.
func (a *Allocator) usableSize(off uint64) (uint64, error) {
	b, err := a.locate(off)
	switch {
	case err != nil:
		return 0, err
	case b.local == nil:
		return b.state.Run() << layout.GranuleShift, nil
	case b.isFree():
		return 0, a.notAllocated(off)
	}
	return uint64(layout.Classes[b.state.Class()].Size), nil
}

// Close gives empty slabs back, leaves the others to whoever adopts them and frees the record. Blocks
// that were allocated from the cache stay. It returns ErrClosed when the cache is closed. Killed
// during Close, recovery does the rest.
func (c *Cache) Close() error {
	c.a.mu.Lock()
	_, open := c.a.open[c]
	delete(c.a.open, c)
	c.a.mu.Unlock()
	if !open {
		return ErrClosed
	}
	return c.release()
}

func (c *Cache) release() error {
	c.closed = true
	var first error
	for class := range c.bins {
		if err := c.releaseBin(class); err != nil && first == nil {
			first = err
		}
	}
	crashpoint.Hit("alloc.cache.before-free")
	c.record.Owner.StoreRelease(0)
	return first
}

func (c *Cache) releaseBin(class int) error {
	b := &c.bins[class]
	b.setAside()
	var first error
	for {
		head, ok := b.queue.pop()
		if !ok {
			return first
		}
		s := c.a.slab(head, class)
		c.a.collect(s)
		var err error
		if c.a.isEmpty(s) {
			err = c.releaseSlab(s)
		} else {
			err = c.a.disown(head, c.ownState(class))
		}
		if err != nil && first == nil {
			first = err
		}
	}
}

// ownState is the state of this cache's slabs of the class.
func (c *Cache) ownState(class int) layout.State {
	return layout.MakeState(layout.KindSlab, class, c.id, uint64(layout.Classes[class].Granules))
}

func (c *Cache) allocator() *Allocator { return c.a }
