package alloc

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/invariants"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// Cache allocates from slabs of its own. One goroutine may use it at a time; different caches are
// independent, in one process and across processes. Its record lies in the heap, so that survivors
// can return everything it held when its process dies.
type Cache struct {
	slots  slots              // first, where Free finds them with a short displacement
	far    *[farSlots]farSlot // nil until a block of others is freed
	a      *Allocator
	_      [24]byte // no front crosses a cache line
	shared bins

	id      uint16
	record  *layout.Cache
	closed  bool
	private *bins    // nil until the first private block
	sampled *bins    // nil until the first sample
	careful *careful // nil unless the cache looks for misuse

	largePrivate bool      // there may be large private blocks
	pressure     uint64    // what it was when the cache last gave up all that it could
	tidied       int       // the class that tidy looked at last
	recent       freedRuns // runs that the cache has freed

	arenas map[uint64]*Arena // by their heads, those that Close frees
}

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
	c.shared.init(0)
	c.shared.sample(&a.super.ProfileRate)
	c.slots.init()
	if invariants.Enabled {
		c.careful = a.newCareful()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed.Load() {
		c.record.Owner.StoreRelease(0)
		return nil, ErrClosed
	}
	a.open[c] = struct{}{}
	return c, nil
}

func (a *Allocator) takeRecord() (*Cache, error) {
	if err := a.mayWrite(); err != nil {
		return nil, err
	}
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
			clearCounters(&record.Counts)
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
	switch {
	case c.closed:
		return 0, ErrClosed
	case size > layout.MaxSmall:
		return c.allocLarge(size, 0)
	case c.careful != nil && size+minGuard <= layout.MaxSmall:
		return c.allocCareful(size)
	}
	b, off, bit, err := c.peekShared(size)
	if err == nil {
		b.takeBit(bit)
	}
	return off, err
}

// allocFrom allocates a block of the bin, after a refill if need be.
func (c *Cache) allocFrom(b *bin) (uint64, error) {
	off, bit, err := c.peekBlock(b)
	if err == nil {
		b.takeBit(bit)
	}
	return off, err
}

// peekBlock returns the block that the next allocation from the bin will take, and its bit in the bin's
// word, after a refill if need be.
func (c *Cache) peekBlock(b *bin) (off, bit uint64, err error) {
	if b.free == 0 {
		if err := c.refill(b); err != nil {
			return 0, 0, err
		}
	}
	w := b.free
	if w == 0 {
		return 0, 0, c.a.corrupt(c.a.offsetOf(b.front), "free blocks of a slab vanish")
	}
	i := bits.TrailingZeros64(w)
	off, bit = c.a.offsetOf(b.front)+uint64(i)*b.size, 1<<i
	if c.careful != nil {
		err = c.inspect(b, off, bit)
	}
	return off, bit, err
}

// common returns the bins of shared blocks.
func (c *Cache) common() *bins {
	if c.careful != nil {
		return &c.careful.bins
	}
	return &c.shared
}

// block is what a pointer leads to: a block of a slab, or a large block, which has no word.
type block struct {
	state  layout.State
	head   uint64
	bit    uint64
	local  *mem.Word
	remote *mem.Word
	public *mem.Word // of the published bitmap
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
	case s.Kind() == layout.KindArena || s.Kind() == layout.KindChunk:
		return block{}, fmt.Errorf("%#x: %w", a.address(off), ErrInArena)
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
		local: a.memory.Word(p.local + at), remote: a.memory.Word(p.remote + at), public: a.memory.Word(p.published + at),
	}, nil
}

func (a *Allocator) notAllocated(off uint64) error {
	return fmt.Errorf("%#x: %w", a.address(off), ErrNotAllocated)
}

// size returns how many bytes the block has.
func (b *block) size() uint64 {
	if b.local == nil {
		return b.state.Run() << layout.GranuleShift
	}
	return uint64(layout.Classes[b.state.Class()].Size)
}

// isFree reports whether the block of a slab is free, here or with its owner.
func (b *block) isFree() bool { return (b.local.Load()|b.remote.Load())&b.bit != 0 }

// freeAny frees the block that begins at off, whoever's it is.
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
		add(&c.record.Counts.LargeFree, 1)
		return c.releaseSpan(b.head, b.state.Run())
	case b.isFree():
		return fmt.Errorf("%#x: %w", c.a.address(off), ErrDoubleFree)
	case c.careful != nil && b.state.Cache() == c.id && b.state.Flags() == 0:
		return c.freeCareful(&b, off)
	}
	return c.freeBlock(&b, off)
}

// freeBlock sets the block's bit: the one store that frees it.
func (c *Cache) freeBlock(b *block, off uint64) error {
	if b.state.Cache() == c.id {
		b.local.StoreRelease(b.local.Peek() | b.bit)
		crashpoint.Hit("alloc.free.after-local")
		b.unpublish()
		if b.state.Flags() == 0 && c.careful == nil { // its slot was driven out
			c.enterSlot(c.a.slab(b.head, b.state), off>>layout.GranuleShift)
		}
		return nil
	}
	if b.remote.Or(b.bit)&b.bit != 0 {
		return fmt.Errorf("%#x: %w", c.a.address(off), ErrDoubleFree)
	}
	add(&c.record.Counts.Remote, 1)
	crashpoint.Hit("alloc.free.after-remote")
	c.enterFar(b, off)
	return nil
}

// unpublish makes what is allocated in the place of a freed block private again, in a slab where that
// matters. Killed in front of it, the block is free all the same, and nobody else allocates from the slab
// until recovery has made it a shared one.
func (b *block) unpublish() {
	if b.state.Flags()&layout.FlagPrivate != 0 {
		b.public.And(^b.bit)
	}
}

// usableSize returns how many bytes the block that begins at off has.
func (a *Allocator) usableSize(off uint64) (uint64, error) {
	_, usable, err := a.locateUsed(off)
	return usable, err
}

// Close gives empty slabs back, leaves the others to whoever adopts them and frees the record. Shared blocks
// that were allocated from the cache stay, private ones become free. It returns ErrClosed when the cache is closed. Killed
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
	c.slots.init()
	c.far = nil
	var first error
	for b := range c.everyBin {
		if err := c.releaseBin(b); err != nil && first == nil {
			first = err
		}
	}
	if err := c.releasePrivate(); err != nil && first == nil {
		first = err
	}
	c.a.keepCounts(&c.record.Counts)
	if err := c.releaseArenas(); err != nil && first == nil {
		first = err
	}
	crashpoint.Hit("alloc.cache.before-free")
	c.record.Owner.StoreRelease(0)
	return first
}

// everyBin yields the cache's bins, of shared blocks first.
func (c *Cache) everyBin(yield func(*bin) bool) {
	for _, s := range []*bins{&c.shared, c.private, c.sampled, c.careful.allBins()} {
		for i := 0; s != nil && i < len(s.all); i++ {
			if !yield(&s.all[i]) {
				return
			}
		}
	}
}

func (c *Cache) releaseBin(b *bin) error {
	b.setAside()
	defer c.report(b)
	var first error
	for {
		head, ok := b.queue.pop()
		if !ok {
			return first
		}
		s := c.a.slab(head, b.state(c.id))
		b.collected += c.a.collect(s)
		var err error
		if c.a.isEmpty(s) {
			err = c.releaseSlab(b, s)
		} else {
			add(&c.record.Counts.Balance, -(c.a.countUsed(s) - c.a.countPrivate(s)))
			err = c.a.disown(head, b.state(c.id))
		}
		if err != nil && first == nil {
			first = err
		}
	}
}

func (c *Cache) allocator() *Allocator { return c.a }
