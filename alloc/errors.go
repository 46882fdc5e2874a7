package alloc

import (
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/heap"
)

// Errors of this package, to be tested with errors.Is. Those of package heap come through unchanged.
var (
	ErrDoubleFree    = errors.New("block is free already")
	ErrNotAllocated  = errors.New("not the address of an allocated block")
	ErrTooLarge      = errors.New("larger than the heap")
	ErrAlign         = errors.New("alignment is not a power of two up to 1 GiB")
	ErrType          = errors.New("type cannot be stored in a heap")
	ErrTooManyCaches = errors.New("too many caches")
	ErrNotInHeap     = errors.New("address outside the heap")
	ErrQuota         = errors.New("quota of the peer")
	ErrMisuse        = errors.New("memory was misused")
	ErrOccupied      = errors.New("word is not nil")
	ErrPointers      = errors.New("blocks hold raw pointers")
	ErrPublished     = errors.New("arena is published")
	ErrNotPublished  = errors.New("arena is not published")
	ErrInArena       = fmt.Errorf("inside an arena: %w", ErrNotAllocated) // blocks of an arena are freed together
	ErrCorrupt       = heap.ErrCorrupt
	ErrNoSpace       = heap.ErrNoSpace
	ErrClosed        = heap.ErrClosed
)

func (a *Allocator) corrupt(off uint64, format string, args ...any) error {
	return fmt.Errorf("%w: at %#x: %s", ErrCorrupt, a.address(off), fmt.Sprintf(format, args...))
}

// address is what people see of an offset.
func (a *Allocator) address(off uint64) uint64 { return a.base + off }
