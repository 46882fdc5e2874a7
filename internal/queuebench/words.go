package queuebench

import (
	"errors"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/lock"
)

// offsetOf returns the offset of a value in the heap.
func offsetOf[T any](h *heap.Heap, p *T) (uint64, error) {
	off, ok := mem.OffsetOf(h.Memory(), p)
	if !ok {
		return 0, errors.New("a block outside the heap")
	}
	return off, nil
}

// newMutex makes a mutex in the heap.
func newMutex(w *worker) (*lock.Mutex, error) { return alloc.New[lock.Mutex](w.alloc) }
