package alloc

import (
	"fmt"
	"unsafe"

	"github.com/shmheap/shmheap/internal/goroutine"
	"github.com/shmheap/shmheap/internal/layout"
)

// Source is where blocks come from: an Allocator, for any goroutine, or a Cache, for one at a time.
type Source interface {
	Maker
	// Realloc makes the block that begins at p at least size bytes long and returns where it is then:
	// a large block grows and shrinks in place where it can, others move unless they have room and not
	// twice too much. What fits of the bytes stays; those behind are whatever they were. A nil p is
	// Alloc's. It returns Alloc's and Free's errors, and the block is as it was then. Nobody else may use
	// the block meanwhile. Killed in between, the block may be free while the caller's words still lead to
	// it, or leak: see ReallocInto.
	Realloc(p unsafe.Pointer, size uint64) (unsafe.Pointer, error)
	// ReallocInto is Realloc of the block that *at leads to, which moves *at along. Killed at any point, *at
	// leads to the old block or the new one, and the other is free, under AllocInto's condition,
	// except that an old block in another cache's slab may leak. A private block that moves becomes a shared
	// one. It returns Realloc's errors, and AllocInto's.
	ReallocInto(at *unsafe.Pointer, size uint64) error
	// AllocPrivate is Alloc of a block that dies with its cache: it is freed when the cache is closed or
	// its process dies, unless it was published before. Those of an Allocator die when that is closed.
	AllocPrivate(size uint64) (unsafe.Pointer, error)
	// Publish makes the block that begins at p live on like others, whatever becomes of the cache it
	// is from. Killed at any point, it is private still or published. Blocks that are not private are left
	// alone. It returns ErrNotAllocated.
	Publish(p unsafe.Pointer) error
	// AllocInto allocates size zeroed bytes and stores the address in *dst, which must be nil and lie
	// in a block of the heap. Killed at any point, the block is reachable from *dst, and zeroed, or
	// it is free, provided that nobody else changes *dst until AllocInto has returned, or until a
	// Recover that began after the death has: *dst is a word of the caller's own, from which the
	// block is linked to where others find it. It returns Alloc's errors, ErrOccupied, and
	// ErrNotInHeap for a dst that lies in no granule in use.
	AllocInto(dst *unsafe.Pointer, size uint64) error
	// Free frees the block that begins at p; nil is ignored. It returns ErrDoubleFree for a block
	// that is free and ErrNotAllocated for a pointer that is no block's, and changes nothing then.
	// What it cannot see is a block that was allocated again in between, and a second free at the
	// very instant of the owning cache's own. A process killed before the free leaks the block if it
	// had taken the pointer away: see FreeFrom.
	Free(p unsafe.Pointer) error
	// FreeFrom clears *src, which must lie in the heap, and frees the block that it led to; a nil
	// *src is left alone. Killed at any point, the block is reachable from *src or free, under
	// AllocInto's condition, except that a block of another cache's slab may leak. The errors are
	// Free's; when another process frees the block at the same time *src may be nil all the same.
	FreeFrom(src *unsafe.Pointer) error
	// UsableSize returns how many bytes the block at p has, or ErrNotAllocated.
	UsableSize(p unsafe.Pointer) (uint64, error)

	// useForArena calls f with the cache that owns the arenas made from the source, which nobody else uses meanwhile.
	useForArena(f func(*Cache) error) error
}

var (
	_ Source = (*Allocator)(nil)
	_ Source = (*Cache)(nil)
)

// AllocZeroed implements Source.
func (c *Cache) AllocZeroed(size uint64) (unsafe.Pointer, error) { return allocZeroed(c, size) }

// AllocAligned implements Source.
func (c *Cache) AllocAligned(size, align uint64) (unsafe.Pointer, error) {
	off, err := c.allocAligned(size, align)
	if err != nil {
		return nil, allocError(size, err)
	}
	return c.a.memory.Pointer(off), nil
}

// Realloc implements Source.
func (c *Cache) Realloc(p unsafe.Pointer, size uint64) (unsafe.Pointer, error) {
	if p == nil {
		return c.Alloc(size)
	}
	off, err := c.a.blockOffset(p)
	if err == nil {
		off, err = c.realloc(off, size)
	}
	if err != nil {
		return nil, reallocError(size, err)
	}
	return c.a.memory.Pointer(off), nil
}

// ReallocInto implements Source.
func (c *Cache) ReallocInto(at *unsafe.Pointer, size uint64) error {
	word, err := c.a.offset(unsafe.Pointer(at))
	if err == nil {
		err = c.reallocInto(word, size)
	}
	return reallocError(size, err)
}

// AllocPrivate implements Source.
func (c *Cache) AllocPrivate(size uint64) (unsafe.Pointer, error) {
	off, err := c.allocPrivate(size)
	if err != nil {
		return nil, allocError(size, err)
	}
	return c.a.memory.Pointer(off), nil
}

// Publish implements Source.
func (c *Cache) Publish(p unsafe.Pointer) error { return c.a.Publish(p) }

// AllocInto implements Source.
func (c *Cache) AllocInto(dst *unsafe.Pointer, size uint64) error {
	word, err := c.a.offset(unsafe.Pointer(dst))
	if err == nil {
		err = c.allocInto(word, size)
	}
	return allocError(size, err)
}

// FreeFrom implements Source.
func (c *Cache) FreeFrom(src *unsafe.Pointer) error {
	word, err := c.a.offset(unsafe.Pointer(src))
	if err == nil {
		err = c.freeFrom(word)
	}
	return freeError(err)
}

// UsableSize implements Source.
func (c *Cache) UsableSize(p unsafe.Pointer) (uint64, error) {
	size, err := c.a.UsableSize(p)
	if off, ok := c.a.memory.Offset(p); ok && err == nil {
		if asked, guarded := c.guarded(off); guarded {
			return asked, nil
		}
	}
	return size, err
}

// Alloc implements Source. A goroutine that has a place uses that place's cache.
//
//go:nosplit
func (a *Allocator) Alloc(size uint64) (unsafe.Pointer, error) {
	id := goroutine.ID()
	at := a.near.at(id)
	p := at.Load()
	if p.owner != id {
		return a.allocLeased(size)
	}
	p.busy.Set(1)
	if at.Load() != p {
		p.leave()
		return a.allocLeased(size)
	}
	if size <= layout.MaxSmall {
		if b := p.cache.shared.front(size); b.free != 0 {
			block := b.take()
			p.leave()
			return block, nil
		}
	}
	block, err := p.cache.allocSlow(size)
	p.leave()
	return block, err
}

func (a *Allocator) allocLeased(size uint64) (unsafe.Pointer, error) {
	l, err := a.borrow()
	if err != nil {
		return nil, allocError(size, err)
	}
	defer l.end()
	return l.Alloc(size)
}

// AllocZeroed implements Source.
func (a *Allocator) AllocZeroed(size uint64) (unsafe.Pointer, error) { return allocZeroed(a, size) }

// AllocAligned implements Source.
func (a *Allocator) AllocAligned(size, align uint64) (unsafe.Pointer, error) {
	l, err := a.borrow()
	if err != nil {
		return nil, allocError(size, err)
	}
	defer l.end()
	return l.AllocAligned(size, align)
}

// Realloc implements Source.
func (a *Allocator) Realloc(p unsafe.Pointer, size uint64) (unsafe.Pointer, error) {
	l, err := a.borrow()
	if err != nil {
		return nil, reallocError(size, err)
	}
	defer l.end()
	return l.Realloc(p, size)
}

// ReallocInto implements Source.
func (a *Allocator) ReallocInto(at *unsafe.Pointer, size uint64) error {
	l, err := a.borrow()
	if err != nil {
		return reallocError(size, err)
	}
	defer l.end()
	return l.ReallocInto(at, size)
}

// AllocPrivate implements Source.
func (a *Allocator) AllocPrivate(size uint64) (unsafe.Pointer, error) {
	l, err := a.borrow()
	if err != nil {
		return nil, allocError(size, err)
	}
	defer l.end()
	return l.AllocPrivate(size)
}

// Publish implements Source.
func (a *Allocator) Publish(p unsafe.Pointer) error {
	if err := a.enterToWrite(); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	defer a.leave()
	off, err := a.blockOffset(p)
	if err == nil {
		err = a.publish(off)
	}
	if err != nil {
		return fmt.Errorf("publish %w", err)
	}
	return nil
}

// AllocInto implements Source.
func (a *Allocator) AllocInto(dst *unsafe.Pointer, size uint64) error {
	l, err := a.borrow()
	if err != nil {
		return allocError(size, err)
	}
	defer l.end()
	return l.AllocInto(dst, size)
}

// Free implements Source.
//
//go:nosplit
func (a *Allocator) Free(block unsafe.Pointer) error {
	id := goroutine.ID()
	at := a.near.at(id)
	p := at.Load()
	if p.owner != id {
		return a.freeLeased(block)
	}
	p.busy.Set(1)
	if at.Load() != p {
		p.leave()
		return a.freeLeased(block)
	}
	s := p.cache.slots.at(uintptr(block))
	rel := uintptr(block) - s.start
	if product := uint64(rel) * uint64(s.recip); rel < uintptr(s.extent) && uint32(product) < s.recip {
		local, remote := s.words(product >> 32)
		if word, bit := local.Peek(), uint64(1)<<(product>>32&63); (word|remote.Peek())&bit == 0 {
			local.Set(word | bit)
			p.leave()
			return nil
		}
	}
	err := p.cache.freeSlow(block)
	p.leave()
	return err
}

func (a *Allocator) freeLeased(block unsafe.Pointer) error {
	if block == nil {
		return nil
	}
	l, err := a.borrow()
	if err != nil {
		return freeError(err)
	}
	defer l.end()
	return l.Free(block)
}

// FreeFrom implements Source.
func (a *Allocator) FreeFrom(src *unsafe.Pointer) error {
	l, err := a.borrow()
	if err != nil {
		return freeError(err)
	}
	defer l.end()
	return l.FreeFrom(src)
}

// UsableSize implements Source.
func (a *Allocator) UsableSize(p unsafe.Pointer) (uint64, error) {
	if err := a.enter(); err != nil {
		return 0, err
	}
	defer a.leave()
	off, err := a.blockOffset(p)
	if err != nil {
		return 0, fmt.Errorf("size of %w", err)
	}
	return a.usableSize(off)
}

// Contains reports whether the n bytes at p lie in the data of the heap, so that following a raw pointer
// from a peer that is not trusted cannot leave it. Whether a block is there, UsableSize knows.
func (a *Allocator) Contains(p unsafe.Pointer, n uint64) bool {
	off, ok := a.memory.Offset(p)
	return ok && off >= a.first<<layout.GranuleShift && a.memory.Contains(off, n)
}

// blockOffset is offset for what should be a block's address.
func (a *Allocator) blockOffset(p unsafe.Pointer) (uint64, error) {
	off, ok := a.memory.Offset(p)
	if !ok {
		return 0, fmt.Errorf("%#x: %w", uintptr(p), ErrNotAllocated)
	}
	return off, nil
}

func (a *Allocator) offset(p unsafe.Pointer) (uint64, error) {
	off, ok := a.memory.Offset(p)
	if !ok {
		return 0, fmt.Errorf("%#x: %w", uintptr(p), ErrNotInHeap)
	}
	return off, nil
}

func allocZeroed(s Maker, size uint64) (unsafe.Pointer, error) {
	p, err := s.Alloc(size)
	if err == nil {
		clear(unsafe.Slice((*byte)(p), size))
	}
	return p, err
}

func allocError(size uint64, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("allocate %d bytes: %w", size, err)
}

func freeError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("free %w", err)
}
