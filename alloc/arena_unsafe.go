package alloc

import (
	"fmt"
	"unsafe"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// Maker makes blocks: a Source, or an Arena. It is all that New, MakeSlice and MakeString need.
type Maker interface {
	// Alloc returns a block of at least size bytes, aligned to 16. Its bytes are whatever they were. A size of 0
	// gives the smallest block. It returns ErrNoSpace, ErrTooLarge or ErrClosed, an Arena also ErrPublished. A
	// process killed before it stores the pointer somewhere leaks the block, unless something else owns it.
	Alloc(size uint64) (unsafe.Pointer, error)
	// AllocZeroed is Alloc with all bytes of the block zero.
	AllocZeroed(size uint64) (unsafe.Pointer, error)
	// AllocAligned is Alloc of a block whose address is a multiple of align, a power of two up to
	// MaxAlign. It returns ErrAlign for others.
	AllocAligned(size, align uint64) (unsafe.Pointer, error)

	allocator() *Allocator
}

// Arena is a region of blocks that are freed together: Alloc moves a mark, and single blocks are not freed.
// One goroutine may use it at a time, and when it was made from a Cache it is among what one goroutine at a
// time may use of that. Arenas made from an Allocator are independent of each other.
//
// An arena belongs to the cache that it was made from, or to the Allocator, and is freed when that is closed
// or its process dies, with all blocks, wherever pointers to them are. Publish makes it live on, as it is then:
// published lives, unpublished dies. From then on it is known by its address, and any process frees it through
// OpenArena.
type Arena struct {
	base   unsafe.Pointer // of the chunk that Alloc takes from
	used   uint64         // of its bytes, a multiple of 16
	size   uint64         // its bytes, 0 when nothing may be allocated
	record *mem.Word      // where others see used

	s       Source
	head    uint64 // granule
	first   uint64 // granules of the first chunk
	grow    uint64 // granules of the next chunk
	most    uint64 // that grow goes up to
	stopped error  // why nothing may be allocated
}

var _ Maker = (*Arena)(nil)

// ArenaOptions say how an arena is made. The zero value is valid, and nil stands for it.
type ArenaOptions struct {
	// Chunk is the size of the first chunk in bytes, rounded up to a multiple of 64 KiB: what Reset keeps. The
	// next ones are twice as large each, up to 4 MiB or this. 0 means 64 KiB.
	Chunk uint64
}

// ArenaSize is how large an arena is.
type ArenaSize struct {
	Chunks   int    // spans that it consists of
	Used     uint64 // bytes of its blocks
	Reserved uint64 // bytes of its chunks
}

// NewArena makes an arena that belongs to s. It returns ErrNoSpace, ErrTooLarge, ErrTooManyCaches or
// ErrClosed. Killed at any point, it is freed by recovery.
func NewArena(s Source, opts *ArenaOptions) (*Arena, error) {
	var o ArenaOptions
	if opts != nil {
		o = *opts
	}
	r := &Arena{s: s}
	err := s.useForArena(func(c *Cache) error {
		if o.Chunk > c.a.limit<<layout.GranuleShift {
			return fmt.Errorf("%w: chunks of %d bytes", ErrTooLarge, o.Chunk)
		}
		want := max(wholeGranules(o.Chunk), minChunk)
		head, first, err := c.newArena(want)
		if err == nil {
			r.head, r.first, r.grow, r.most = head, first, want, max(want, maxChunk)
			r.use(c.a, head, first)
			c.keepArena(head, r)
		}
		return err
	})
	if err != nil {
		return nil, arenaError("new", err)
	}
	return r, nil
}

// OpenArena returns the published arena that p points into, its address or any other, for its Size and to Free
// it. It returns ErrNotAllocated where there is no arena, ErrNotPublished, and ErrClosed.
func OpenArena(s Source, p unsafe.Pointer) (*Arena, error) {
	a := s.allocator()
	if err := a.enter(); err != nil {
		return nil, arenaError("open", err)
	}
	defer a.leave()
	off, err := a.blockOffset(p)
	if err != nil {
		return nil, arenaError("open", err)
	}
	head, state, err := a.arenaOf(off)
	if err == nil && state.Cache() != 0 {
		err = fmt.Errorf("%#x: %w", a.address(off), ErrNotPublished)
	}
	if err != nil {
		return nil, arenaError("open", err)
	}
	return &Arena{s: s, head: head, stopped: ErrPublished}, nil
}

func wholeGranules(bytes uint64) uint64 {
	return bytes>>layout.GranuleShift + (bytes&(layout.GranuleSize-1)+layout.GranuleSize-1)>>layout.GranuleShift
}

// Alloc implements Maker. A block costs its size rounded up to a multiple of 16.
func (r *Arena) Alloc(size uint64) (unsafe.Pointer, error) {
	n := (size + 15) &^ 15
	if n-1 < r.size-r.used { // not for an n of 0: the size is that, or near the largest there is
		p := unsafe.Add(r.base, r.used)
		r.used += n
		r.record.Set(r.used)
		return p, nil
	}
	return r.allocSlow(size, 16)
}

// AllocZeroed implements Maker.
func (r *Arena) AllocZeroed(size uint64) (unsafe.Pointer, error) { return allocZeroed(r, size) }

// AllocAligned implements Maker. The alignment may be larger than MaxAlign.
func (r *Arena) AllocAligned(size, align uint64) (unsafe.Pointer, error) {
	if align&(align-1) != 0 || align == 0 || align > layout.MaxSize {
		return nil, allocError(size, fmt.Errorf("%w: %d", ErrAlign, align))
	}
	if align <= 16 {
		return r.Alloc(size)
	}
	if p := r.take(size, align); p != nil {
		return p, nil
	}
	return r.allocSlow(size, align)
}

// take returns a block from the current chunk, or nil.
func (r *Arena) take(size, align uint64) unsafe.Pointer {
	size = max(size, 1)
	skip := -(uint64(uintptr(r.base)) + r.used) & (align - 1)
	room := r.size - r.used
	if skip > room || size > room-skip {
		return nil
	}
	p := unsafe.Add(r.base, r.used+skip)
	r.used += skip + (size+15)&^15
	r.record.Set(r.used)
	return p
}

// allocSlow takes a block from a new chunk. That becomes the current one if it has more left.
func (r *Arena) allocSlow(size, align uint64) (p unsafe.Pointer, err error) {
	if r.stopped != nil {
		return nil, allocError(size, r.stopped)
	}
	if p = r.take(size, align); p != nil {
		return p, nil
	}
	var chunk, n uint64
	err = r.s.useForArena(func(c *Cache) (err error) {
		most := c.a.limit << layout.GranuleShift
		if size > most || align > most {
			return fmt.Errorf("%w: aligned to %d", ErrTooLarge, align)
		}
		least := wholeGranules(max(size, 1))
		if align > layout.GranuleSize || uint64(c.a.memory.Base())&(align-1) != 0 {
			least = wholeGranules(size + align)
		}
		chunk, n, err = r.extend(c, least)
		return err
	})
	if err != nil {
		return nil, allocError(size, err)
	}
	before := *r
	r.use(r.s.allocator(), chunk, n)
	p = r.take(size, align)
	if before.size-before.used > r.size-r.used {
		r.base, r.used, r.size, r.record = before.base, before.used, before.size, before.record
	}
	return p, nil
}

// extend adds a chunk of at least that many granules and returns it and its length.
func (r *Arena) extend(c *Cache, least uint64) (chunk, n uint64, err error) {
	r.grow = min(2*r.grow, r.most)
	return c.addChunk(r.head, max(r.grow, least), least)
}

// use makes a chunk of n granules, all of them free, the one that Alloc takes from. What others may write says neither
// where that is nor how long it is.
func (r *Arena) use(a *Allocator, g, n uint64) {
	r.base, r.used, r.size = a.memory.Pointer(g<<layout.GranuleShift), 0, n<<layout.GranuleShift
	r.record = &a.arenaRecord(g).Used
}

// end makes everything fail with err from now on.
func (r *Arena) end(err error) {
	r.base, r.used, r.size, r.record, r.stopped = nil, 0, 0, nil, err
}

// Address returns where the arena begins, which names it to other processes.
func (r *Arena) Address() unsafe.Pointer {
	return r.s.allocator().memory.Pointer(r.head << layout.GranuleShift)
}

// Size returns how large the arena is. It returns ErrNotAllocated when it has been freed, and ErrCorrupt.
func (r *Arena) Size() (size ArenaSize, err error) {
	if r.stopped != nil && r.stopped != ErrPublished {
		return size, arenaError("size of", r.stopped)
	}
	a := r.s.allocator()
	if err := a.enter(); err != nil {
		return size, arenaError("size of", err)
	}
	defer a.leave()
	size, err = a.arenaSize(r.head)
	return size, arenaError("size of", err)
}

// Reset frees all blocks and all chunks but the first. It returns ErrPublished when the arena is published. Killed at
// any point, recovery frees the arena.
func (r *Arena) Reset() error {
	err := r.stopped
	if err == nil {
		err = r.s.useForArena(r.reset)
	}
	return arenaError("reset", err)
}

func (r *Arena) reset(c *Cache) error {
	if err := c.dropChunks(r.head); err != nil {
		r.end(err)
		return err
	}
	c.a.arenaRecord(r.head).Used.StoreRelease(0)
	r.grow = r.first
	r.use(c.a, r.head, r.first)
	return nil
}

// Free frees all blocks and chunks. A published arena may be freed by any process, through OpenArena; of several
// that do so at once one succeeds, and the others get ErrNotAllocated, unless another arena has been published at the
// same address meanwhile. A process killed before it had begun to
// free a published arena leaks it if it had taken its address away; killed later, recovery frees the rest.
func (r *Arena) Free() error {
	err := r.stopped
	if err == nil || err == ErrPublished {
		err = r.s.useForArena(r.free)
	}
	return arenaError("free", err)
}

func (r *Arena) free(c *Cache) error {
	if r.stopped == ErrPublished {
		if err := c.takeArena(r.head, r); err != nil {
			return err
		}
	}
	r.end(ErrNotAllocated)
	err := c.freeArena(r.head)
	if err == nil {
		delete(c.arenas, r.head)
	}
	return err
}

// Publish makes the arena live on, whatever becomes of whom it belongs to. Nothing more can be allocated from it then:
// Alloc and Reset return ErrPublished, as does a second Publish. Killed at any point, it is published or
// recovery frees it. Killed between Publish and storing its address, it leaks: see PublishInto.
func (r *Arena) Publish() error {
	return r.publish(func(c *Cache) error { return c.publishArena(r.head) })
}

// PublishInto is Publish that stores the arena's address in *dst, which must be nil and lie in a block of the heap.
// Killed at any point, *dst leads to the arena, or recovery frees it, under AllocInto's condition. It also returns
// ErrOccupied, and then nothing has changed.
func (r *Arena) PublishInto(dst *unsafe.Pointer) error {
	return r.publish(func(c *Cache) error {
		word, err := c.a.offset(unsafe.Pointer(dst))
		if err != nil {
			return err
		}
		return c.publishArenaInto(r.head, word)
	})
}

func (r *Arena) publish(how func(*Cache) error) error {
	err := r.stopped
	if err == nil {
		err = r.s.useForArena(how)
	}
	if err == nil {
		r.end(ErrPublished)
	}
	return arenaError("publish", err)
}

func (r *Arena) allocator() *Allocator { return r.s.allocator() }
