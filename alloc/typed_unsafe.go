package alloc

import (
	"fmt"
	"unsafe"
)

// New allocates a zeroed T in the heap, or in an Arena. T may hold numbers, booleans, arrays, structs, sync/atomic's
// values, String, Slice, and pointers to such things in the heap. It returns ErrType, naming the
// field, when Go's garbage collector or scheduler would own a part of T, and Alloc's errors.
func New[T any](s Maker) (*T, error) {
	size, err := sizeOf[T]()
	if err != nil {
		return nil, err
	}
	p, err := allocZeroed(s, size)
	return (*T)(p), err
}

// NewInto is New with AllocInto's guarantee: killed at any point, a zeroed T is reachable from *dst, or
// the block is free. *dst must be nil and lie in a block of the heap. The errors are New's and
// AllocInto's, and ErrCorrupt when *dst leads out of the heap when it is to be returned.
func NewInto[T any](s Source, dst **T) (*T, error) {
	size, err := sizeOf[T]()
	if err != nil {
		return nil, err
	}
	p, err := allocInto(s, (*unsafe.Pointer)(unsafe.Pointer(dst)), size)
	return (*T)(p), err
}

// Delete frees what New allocated. The errors are Free's.
func Delete[T any](s Source, p *T) error { return s.Free(unsafe.Pointer(p)) }

// DeleteFrom clears *src and frees what it led to. The errors are FreeFrom's.
func DeleteFrom[T any](s Source, src **T) error {
	return s.FreeFrom((*unsafe.Pointer)(unsafe.Pointer(src)))
}

// LoadRoot returns what the root of that name leads to, nil when it is nil. It returns
// heap.ErrNoRoot, and heap.ErrRootType when the root was stored as another type: see StoreRoot.
func LoadRoot[T any](a *Allocator, name string) (*T, error) {
	kind, err := typeOf[T]()
	if err != nil {
		return nil, err
	}
	r, err := a.heap.LoadRoot(name)
	if err != nil {
		return nil, fmt.Errorf("load root: %w", err)
	}
	return rootPointer[T](a, r, kind)
}

// StoreRoot makes the root lead to p, which must be nil or lie in the heap. The errors are those of
// heap.StoreRoot, ErrType and ErrNotInHeap. Killed at any point, the root is the old one or the new.
//
// Two types are the same to a root when their fields have the same names, kinds, sizes and offsets, and so on in what
// they lead to. Names of types and packages do not count, so programs with declarations of their own agree; and a type
// of package sync/atomic is what it holds.
func StoreRoot[T any](a *Allocator, name string, p *T) error {
	r, _, err := makeRoot(a, name, p)
	if err == nil {
		err = a.heap.StoreRoot(r)
	}
	if err != nil {
		return fmt.Errorf("store root: %w", err)
	}
	return nil
}

// LoadOrStoreRoot returns what the root leads to if there is one, and otherwise makes it lead to p. Of
// several processes that call it at once one stores, and all get what that one stored. The errors are
// StoreRoot's.
func LoadOrStoreRoot[T any](a *Allocator, name string, p *T) (actual *T, loaded bool, err error) {
	r, kind, err := makeRoot(a, name, p)
	if err != nil {
		return nil, false, fmt.Errorf("store root: %w", err)
	}
	if r, loaded, err = a.heap.LoadOrStoreRoot(r); err != nil {
		return nil, loaded, fmt.Errorf("store root: %w", err)
	}
	actual, err = rootPointer[T](a, r, kind)
	return actual, loaded, err
}
