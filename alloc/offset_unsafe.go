package alloc

import (
	"fmt"
	"unsafe"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// OffsetOf returns how far p is from the base of the heap: what programs that map the heap elsewhere, or that are
// written in other languages, follow instead of a pointer. It returns ErrNotInHeap for a pointer that is nil or
// leads elsewhere.
func OffsetOf[T any](a *Allocator, p *T) (uint64, error) {
	off, ok := mem.OffsetOf(a.memory, p)
	if p == nil || !ok {
		return 0, fmt.Errorf("offset of %p: %w", p, ErrNotInHeap)
	}
	return off, nil
}

// At returns the T at an offset from the base. Whether there is one is for the caller to know, as for a pointer; At
// returns ErrNotInHeap unless a T there is aligned, lies wholly in the data of the heap, and has storage. In a closed
// allocator it returns ErrClosed.
func At[T any](a *Allocator, off uint64) (*T, error) {
	var zero T
	if a.closed.Load() {
		return nil, fmt.Errorf("%T at offset %#x: %w", zero, off, ErrClosed)
	}
	size, align := uint64(unsafe.Sizeof(zero)), uint64(unsafe.Alignof(zero))
	if off%align != 0 || off < a.tables.Data || !a.memory.Contains(off, max(size, 1)) {
		return nil, fmt.Errorf("%T at offset %#x: %w", zero, off, ErrNotInHeap)
	}
	for g := off >> layout.GranuleShift; g <= (off+max(size, 1)-1)>>layout.GranuleShift; g++ {
		if !a.hasStorage(g) {
			return nil, fmt.Errorf("%T at offset %#x: %w: no storage", zero, off, ErrNotInHeap)
		}
	}
	return mem.View[T](a.memory, off), nil
}
