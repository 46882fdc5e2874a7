package mem

import "unsafe"

// Place returns the T at an offset into b, and false when it is not wholly inside or not aligned, in
// memory too.
func Place[T any](b []byte, off uint64) (*T, bool) {
	m := Over(b)
	var zero T
	if !m.Contains(off, uint64(unsafe.Sizeof(zero))) || (uint64(m.Base())+off)%uint64(unsafe.Alignof(zero)) != 0 {
		return nil, false
	}
	return (*T)(unsafe.Add(m.base, off)), true
}

// ReadDevice reads a device register: one plain load, of this width, that the compiler neither repeats
// nor leaves out, and that earlier accesses do not pass.
func ReadDevice[T uint32 | uint64](p *T) (v T) {
	deviceBarrier()
	if unsafe.Sizeof(v) == 4 {
		v = T(load32((*uint32)(unsafe.Pointer(p))))
	} else {
		v = T(load64((*uint64)(unsafe.Pointer(p))))
	}
	deviceBarrier()
	return v
}

// WriteDevice writes a device register: one plain store, of this width, in order with what comes before
// and after.
func WriteDevice[T uint32 | uint64](p *T, v T) {
	deviceBarrier()
	if unsafe.Sizeof(v) == 4 {
		store32((*uint32)(unsafe.Pointer(p)), uint32(v))
	} else {
		store64((*uint64)(unsafe.Pointer(p)), uint64(v))
	}
	deviceBarrier()
}

// A function that is not inlined does what it says, once.

//go:noinline
func load32(p *uint32) uint32 { return *p }

//go:noinline
func load64(p *uint64) uint64 { return *p }

//go:noinline
func store32(p *uint32, v uint32) { *p = v }

//go:noinline
func store64(p *uint64, v uint64) { *p = v }
