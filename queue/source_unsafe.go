package queue

import (
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/internal/mem"
)

// source is an allocator, and where its blocks come from, seen through offsets.
type source struct {
	a    *alloc.Allocator
	from alloc.Source
}

func (s source) word(off uint64) *unsafe.Pointer {
	return mem.View[unsafe.Pointer](s.a.Heap().Memory(), off)
}

func (s source) allocInto(word, size uint64) error { return s.from.AllocInto(s.word(word), size) }

func (s source) freeFrom(word uint64) error { return s.from.FreeFrom(s.word(word)) }

func (s source) recover() error {
	_, err := s.a.Recover()
	return err
}

// Use makes the hand allocate from, and free by, a Cache of its goroutine's, which is quicker than the
// Allocator that it uses otherwise.
func (h *Hand) Use(from alloc.Source) {
	if s, ok := h.blocks.(source); ok {
		s.from = from
		h.blocks = s
	}
}
