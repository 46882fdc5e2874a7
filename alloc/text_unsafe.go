package alloc

import (
	"fmt"
	"structs"
	"unsafe"

	"github.com/shmheap/shmheap/internal/layout"
)

// String is text in the heap, to be kept in other things there: a raw pointer and a length. The zero
// value is empty.
type String struct {
	_    structs.HostLayout
	data *byte
	size uint64
}

// MakeString copies v into the heap. The errors are Alloc's.
func MakeString(s Maker, v string) (String, error) {
	if v == "" {
		return String{}, nil
	}
	p, err := s.Alloc(uint64(len(v)))
	if err != nil {
		return String{}, err
	}
	copy(unsafe.Slice((*byte)(p), len(v)), v)
	return String{data: (*byte)(p), size: uint64(len(v))}, nil
}

// MakeStringInto copies v into the heap and into *dst, which must lie there and be empty. Killed at
// any point, the text is reachable from *dst or free, under AllocInto's condition; *dst is empty until
// it is complete, but Free frees an incomplete one too. The errors are AllocInto's, and ErrCorrupt when *dst leads out of
// the heap when it is to be filled.
func MakeStringInto(s Source, dst *String, v string) error {
	if dst.data != nil {
		return fmt.Errorf("string %q: %w", v, ErrOccupied)
	}
	dst.size = 0 // of a text whose Free was cut short
	if v == "" {
		return nil
	}
	p, err := allocInto(s, (*unsafe.Pointer)(unsafe.Pointer(&dst.data)), uint64(len(v)))
	if err != nil {
		return err
	}
	copy(unsafe.Slice((*byte)(p), len(v)), v)
	dst.size = uint64(len(v))
	return nil
}

// allocInto is AllocInto that returns where *dst leads to. A peer may have written there meanwhile: it is read as a number,
// which becomes a pointer if that is one into the heap.
func allocInto(s Source, dst *unsafe.Pointer, size uint64) (unsafe.Pointer, error) {
	if err := s.AllocInto(dst, size); err != nil {
		return nil, err
	}
	a := s.allocator()
	at, err := a.offset(unsafe.Pointer(dst))
	if err != nil {
		return nil, err
	}
	v := a.memory.Word(at).Load()
	off := v - a.address(0)
	if off < a.tables.Data || off%minAlign != 0 || !a.memory.Contains(off, max(size, 1)) {
		return nil, a.corrupt(at, "the word of a block of %d bytes holds %#x", size, v)
	}
	return a.memory.Pointer(off), nil
}

// Len returns the number of bytes.
func (x String) Len() int { return len(x.String()) }

// String returns the text in place, without copying it: it is valid until the text is freed or the
// heap is closed. Use strings.Clone to keep it longer.
func (x String) String() string {
	if x.data == nil || x.size > layout.MaxSize {
		return ""
	}
	return unsafe.String(x.data, x.size)
}

// Free frees the text and leaves an empty String. The errors are Free's; for a String that lies in the
// heap also FreeFrom's guarantee.
func (x *String) Free(s Source) error {
	err := freePointer(s, (*unsafe.Pointer)(unsafe.Pointer(&x.data)))
	if err == nil {
		x.size = 0
	}
	return err
}

// freePointer frees exactly what *p leads to, when p lies in the heap, and simply otherwise.
func freePointer(s Source, p *unsafe.Pointer) error {
	if s.allocator().Contains(unsafe.Pointer(p), 8) {
		return s.FreeFrom(p)
	}
	err := s.Free(*p)
	if err == nil {
		*p = nil
	}
	return err
}
