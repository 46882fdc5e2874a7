package queue

import (
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/internal/mem"
)

// source is an allocator seen through offsets.
type source struct{ a *alloc.Allocator }

func (s source) word(off uint64) *unsafe.Pointer {
	return mem.View[unsafe.Pointer](s.a.Heap().Memory(), off)
}

func (s source) allocInto(word, size uint64) error { return s.a.AllocInto(s.word(word), size) }

func (s source) freeFrom(word uint64) error { return s.a.FreeFrom(s.word(word)) }

func (s source) recover() error {
	_, err := s.a.Recover()
	return err
}
