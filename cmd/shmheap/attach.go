package main

import (
	"errors"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

// attached calls f with an open heap, and closes it.
func (a *app) attached(name string, f func(*heap.Heap) error) error {
	h, err := heap.Open(name, a.options())
	if err != nil {
		return err
	}
	return errors.Join(f(h), h.Close())
}

// withAllocator calls f with the allocator of an open heap, and closes it.
// Opening one recovers what dead peers held.
func withAllocator(h *heap.Heap, f func(*alloc.Allocator) error) error {
	a, err := alloc.Open(h)
	if err != nil {
		return err
	}
	return errors.Join(f(a), a.Close())
}
