package alloc

import (
	"fmt"
	"slices"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
)

// CacheOptions say how a cache works. The zero value is valid, and nil stands for it.
type CacheOptions struct {
	// Careful makes the cache look for misuse of its blocks. Freed blocks are filled with a pattern, reused as
	// late as possible, and looked at before that; behind each block are guard bytes, looked at when the cache
	// frees it. That costs some 100 ns and 16 bytes or more a block. Large, private and aligned blocks,
	// those of AllocInto, and samples of the profile have no guard. UsableSize of the cache leaves the guard out; that
	// of the Allocator does not, and neither does a Realloc by a cache that is not careful: a block that it left where
	// it was looks overrun. With the build tag invariants all caches are careful, an Allocator's own ones too.
	Careful bool
}

// UseAfterFreeError says that somebody wrote to a block after the cache had freed it.
type UseAfterFreeError struct {
	Address uint64 // of the block
	Size    uint64 // of the block
	Offset  uint64 // of the first byte that changed
}

// Error implements error.
func (e *UseAfterFreeError) Error() string {
	return fmt.Sprintf("%v: byte %d of the block of %d bytes at %#x changed after it was freed", ErrMisuse, e.Offset, e.Size, e.Address)
}

// Unwrap returns what errors.Is finds.
func (e *UseAfterFreeError) Unwrap() error { return ErrMisuse }

// OverrunError says that somebody wrote beyond the end of a block.
type OverrunError struct {
	Address uint64 // of the block
	Size    uint64 // that was asked for
	Offset  uint64 // of the first byte that changed, Size or more
}

// Error implements error.
func (e *OverrunError) Error() string {
	return fmt.Sprintf("%v: byte %d was written of a block of %d bytes at %#x", ErrMisuse, e.Offset, e.Size, e.Address)
}

// Unwrap returns what errors.Is finds.
func (e *OverrunError) Unwrap() error { return ErrMisuse }

// careful is what a careful cache knows of the blocks of its slabs. All of it concerns blocks whose bits say
// where they are, so a kill loses no more than what was to be looked at. All its shared blocks, those without a guard
// too, come from bins of their own, so that the fronts that the short way of Alloc looks at have none, and its slabs
// are entered in no slots, so that the short way of Free finds none.
//
//	Free: fill the block, OR its bit into Remote     killed between: the block is in use, as before Free
//	Alloc: look, write the guard, take the bit       killed between: the block is free
type careful struct {
	bins  bins
	freed map[uint64]bool   // blocks that were filled, by offset
	sizes map[uint64]uint64 // sizes that were asked for, of blocks with guards
}

// allBins returns the bins, if there is such a thing.
func (k *careful) allBins() *bins {
	if k == nil {
		return nil
	}
	return &k.bins
}

const (
	poison   = 0xdf
	guard    = 0xfe
	minGuard = 16
)

func (a *Allocator) newCareful() *careful {
	k := &careful{freed: make(map[uint64]bool), sizes: make(map[uint64]uint64)}
	k.bins.init(0)
	k.bins.sample(&a.super.ProfileRate)
	return k
}

// NewCacheOptions is NewCache with options.
func (a *Allocator) NewCacheOptions(o *CacheOptions) (*Cache, error) {
	c, err := a.NewCache()
	if err == nil && o != nil && o.Careful && c.careful == nil {
		c.careful = a.newCareful()
	}
	return c, err
}

// inspect looks at the block that is to be taken next. One that was written to after it was freed is never handed out
// again, and the error says so.
func (c *Cache) inspect(b *bin, off, bit uint64) error {
	delete(c.careful.sizes, off) // of a block that another cache freed
	if !c.careful.freed[off] {
		return nil
	}
	delete(c.careful.freed, off)
	at := firstOther(c.a.memory.Bytes(off, b.size), poison)
	if at < 0 {
		return nil
	}
	b.takeBit(bit)
	return &UseAfterFreeError{Address: c.a.address(off), Size: b.size, Offset: uint64(at)}
}

// allocCareful allocates a block of a slab with a guard, or a sample.
func (c *Cache) allocCareful(size uint64) (uint64, error) {
	b, off, bit, err := c.peekWithRoom(size, size+minGuard)
	if err != nil {
		return 0, err
	}
	if b.flags != 0 {
		b.takeBit(bit)
		return off, nil
	}
	fillBytes(c.a.memory.Bytes(off+size, b.size-size), guard)
	c.careful.sizes[off] = size
	crashpoint.Hit("alloc.careful.after-guard")
	b.takeBit(bit)
	return off, nil
}

// freeCareful frees a block of the cache's own slabs: the block comes back when the words of the local bitmaps are
// used up. A block that was overrun stays in use, for people to look at.
func (c *Cache) freeCareful(b *block, off uint64) error {
	if err := c.overrun(off, b.size()); err != nil {
		return err
	}
	fillBytes(c.a.memory.Bytes(off, b.size()), poison)
	delete(c.careful.sizes, off)
	c.careful.freed[off] = true
	crashpoint.Hit("alloc.careful.after-fill")
	if b.remote.Or(b.bit)&b.bit != 0 {
		return fmt.Errorf("%#x: %w", c.a.address(off), ErrDoubleFree)
	}
	add(&c.record.Counts.Collected, ^uint64(0)) // what comes back is not from others
	return nil
}

// overrun returns an *OverrunError for a block of size bytes whose guard was written over.
func (c *Cache) overrun(off, size uint64) error {
	asked, guarded := c.guarded(off)
	if !guarded {
		return nil
	}
	if at := firstOther(c.a.memory.Bytes(off+asked, size-asked), guard); at >= 0 {
		return &OverrunError{Address: c.a.address(off), Size: asked, Offset: asked + uint64(at)}
	}
	return nil
}

func fillBytes(b []byte, with byte) {
	for i := range b {
		b[i] = with
	}
}

// guarded returns the size that was asked for of a block that has a guard behind it.
func (c *Cache) guarded(off uint64) (size uint64, ok bool) {
	if c.careful != nil {
		size, ok = c.careful.sizes[off]
	}
	return size, ok
}

// firstOther returns the index of the first byte that is not want, -1 when all are.
func firstOther(b []byte, want byte) int {
	return slices.IndexFunc(b, func(x byte) bool { return x != want })
}

// forget drops what is known of the blocks of a slab that the cache gives up.
func (k *careful) forget(s slab) {
	class := &layout.Classes[s.class]
	for i := range uint64(class.Blocks) {
		off := s.head<<layout.GranuleShift + i*uint64(class.Size)
		delete(k.freed, off)
		delete(k.sizes, off)
	}
}
