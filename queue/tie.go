package queue

import (
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/heap"
)

// closable is a region that somebody may close: a heap.
type closable interface {
	Stay(*heap.Stay) error
	OnClose(func() error) (forget func(), err error)
}

// tie ties a handle to the heap: Heap.Close closes the handle, once nobody waits with it any more.
type tie struct {
	heap   closable // nil in a region that stays
	forget func()
}

// newTie makes Heap.Close call detach. When it is too late for that it calls detach at once.
func newTie(r region, detach func() error) (tie, error) {
	h, ok := r.(closable)
	if !ok {
		return tie{}, nil
	}
	forget, err := h.OnClose(detach)
	if err != nil {
		return tie{}, errors.Join(fmt.Errorf("%w: %w", ErrDetached, err), detach())
	}
	return tie{h, forget}, nil
}

// close calls detach, unless Heap.Close does so or has done it. Heap.Close waits for this one to return.
func (t *tie) close(detach func() error) error {
	if t.heap == nil {
		return detach()
	}
	var stay heap.Stay
	if err := t.heap.Stay(&stay); err != nil {
		return ErrDetached
	}
	defer stay.Leave()
	t.forget()
	return detach()
}
