package mem

import (
	"fmt"
	"unsafe"
)

// Memory is a bounded view of a range of memory. The zero value is empty. It is a value: copies
// refer to the same bytes. Any number of goroutines may use one; what they do to the bytes is up to
// them.
type Memory struct {
	base unsafe.Pointer
	size uint64
}

// At returns a view of the size bytes at p, which must stay mapped as long as the view is used.
func At(p unsafe.Pointer, size uint64) Memory {
	return Memory{base: p, size: size}
}

// Over returns a view of Go memory. It is 16-byte aligned when b is, which holds for every slice of
// 16 bytes or more that make returns.
func Over(b []byte) Memory {
	return Memory{base: unsafe.Pointer(unsafe.SliceData(b)), size: uint64(len(b))}
}

// Base returns the address of the first byte.
func (m Memory) Base() uintptr { return uintptr(m.base) }

// Size returns the number of bytes.
func (m Memory) Size() uint64 { return m.size }

// Contains reports whether the n bytes at off lie inside, without overflow.
func (m Memory) Contains(off, n uint64) bool {
	return off <= m.size && n <= m.size-off
}

// Pointer returns the address of the byte at off.
func (m Memory) Pointer(off uint64) unsafe.Pointer {
	if off >= m.size {
		m.outside(off, 1)
	}
	return unsafe.Add(m.base, off)
}

// Offset returns the offset of p, and false when p is outside.
func (m Memory) Offset(p unsafe.Pointer) (uint64, bool) {
	off := uint64(uintptr(p) - uintptr(m.base))
	return off, off < m.size
}

// Bytes returns the n bytes at off.
func (m Memory) Bytes(off, n uint64) []byte {
	return Slice[byte](m, off, n)
}

// LoadBytes copies shared bytes that others may be writing. Each eight bytes are read at once and in
// order, so that a reader may decide afterwards, by a word that it loads next, whether they belong
// together. b must begin at a multiple of eight and have such a length.
func LoadBytes(b []byte) []byte {
	out := make([]byte, len(b))
	m, copied := Over(b), Over(out)
	for off := uint64(0); off < m.size; off += 8 {
		*View[uint64](copied, off) = m.Word(off).Load()
	}
	return out
}

// View returns the T at off. T must hold no pointer into Go's heap; off must be aligned for T.
func View[T any](m Memory, off uint64) *T {
	var zero T
	m.check(off, uint64(unsafe.Sizeof(zero)), uint64(unsafe.Alignof(zero)))
	return (*T)(unsafe.Add(m.base, off))
}

// Slice returns the n values of type T that begin at off, under the same rules as View.
func Slice[T any](m Memory, off, n uint64) []T {
	var zero T
	size := uint64(unsafe.Sizeof(zero))
	if size != 0 && n > m.size/size {
		m.outside(off, n)
	}
	m.check(off, n*size, uint64(unsafe.Alignof(zero)))
	return unsafe.Slice((*T)(unsafe.Add(m.base, off)), n)
}

// Word returns the shared word at off, which must be a multiple of eight.
func (m Memory) Word(off uint64) *Word {
	if m.size < 8 || off > m.size-8 {
		m.outside(off, 8)
	}
	return (*Word)(unsafe.Add(m.base, off))
}

// Half returns the shared 32-bit word at off, which must be a multiple of four.
func (m Memory) Half(off uint64) *Half { return View[Half](m, off) }

// OffsetOf is Offset for a typed pointer.
func OffsetOf[T any](m Memory, p *T) (uint64, bool) { return m.Offset(unsafe.Pointer(p)) }

func (m Memory) check(off, n, align uint64) {
	if !m.Contains(off, n) || off%align != 0 {
		m.outside(off, n)
	}
}

func (m Memory) outside(off, n uint64) {
	panic(fmt.Sprintf("mem: %d bytes at offset %#x are outside or misaligned in a memory of %#x bytes", n, off, m.size))
}
