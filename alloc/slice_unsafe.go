package alloc

import (
	"fmt"
	"math"
	"structs"
	"unsafe"

	"github.com/shmheap/shmheap/internal/layout"
)

// Slice is a sequence of T in the heap, to be kept in other things there: a raw pointer, a length and a
// capacity. The zero value is empty.
type Slice[T any] struct {
	_    structs.HostLayout
	data *T
	len  uint64
	cap  uint64
}

// MakeSlice allocates room for capacity zeroed values, of which length belong to the slice. It returns
// ErrType for a T that New would refuse, ErrTooLarge, and Alloc's errors.
func MakeSlice[T any](s Maker, length, capacity int) (Slice[T], error) {
	size, err := sizeOf[T]()
	if err != nil {
		return Slice[T]{}, err
	}
	if length < 0 || capacity < length || size != 0 && uint64(capacity) > math.MaxInt64/size {
		return Slice[T]{}, fmt.Errorf("slice of %d values with room for %d: %w", length, capacity, ErrTooLarge)
	}
	if capacity == 0 {
		return Slice[T]{}, nil
	}
	p, err := s.AllocZeroed(size * uint64(capacity))
	if err != nil {
		return Slice[T]{}, err
	}
	return Slice[T]{data: (*T)(p), len: uint64(length), cap: uint64(capacity)}, nil
}

// Len returns the number of values.
func (x Slice[T]) Len() int { return len(x.Slice()) }

// Cap returns the number of values that there is room for.
func (x Slice[T]) Cap() int { return cap(x.Slice()) }

// Slice returns the values in place, none when the lengths make no sense. What it returns is an ordinary slice over the heap: appending
// beyond Cap copies it into Go's memory.
func (x Slice[T]) Slice() []T {
	var zero T
	if x.data == nil || x.len > x.cap || x.cap > layout.MaxSize/max(uint64(unsafe.Sizeof(zero)), 1) {
		return nil
	}
	return unsafe.Slice(x.data, x.cap)[:x.len]
}

// Free frees the values' room and leaves an empty Slice; what the values lead to stays. The errors are
// Free's; for a Slice that lies in the heap also FreeFrom's guarantee.
func (x *Slice[T]) Free(s Source) error {
	err := freePointer(s, (*unsafe.Pointer)(unsafe.Pointer(&x.data)))
	if err == nil {
		x.len, x.cap = 0, 0
	}
	return err
}
