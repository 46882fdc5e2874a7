package queue

import (
	"fmt"
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
)

// zeroedBlock allocates a block that begins a line, as every block of more than four lines does.
func zeroedBlock(a *alloc.Allocator, size uint64) (uint64, error) {
	p, err := a.AllocZeroed(size)
	if err != nil {
		return 0, err
	}
	off, ok := a.Heap().Memory().Offset(p)
	if !ok || off%lineSize != 0 {
		return 0, fmt.Errorf("block at %p of %d bytes: %w: not aligned to %d", p, size, ErrOffset, lineSize)
	}
	return off, nil
}

// freeBlock frees the block at an offset.
func freeBlock(a *alloc.Allocator, off uint64) error { return a.Free(pointerAt(a, off)) }

func pointerAt(a *alloc.Allocator, off uint64) unsafe.Pointer { return a.Heap().Memory().Pointer(off) }

// fits reports whether a T at off lies wholly in [first, first+span) and is aligned.
func fits[T any](off, first, span uint64) bool {
	var zero T
	at, size := off-first, uint64(unsafe.Sizeof(zero))
	return at < span && size <= span-at && off%uint64(unsafe.Alignof(zero)) == 0
}
