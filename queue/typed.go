package queue

import (
	"context"
	"fmt"

	"github.com/shmheap/shmheap/internal/mem"
)

// Pusher is a Producer whose elements are pointers to T in the heap.
type Pusher[T any] struct {
	// Producer has the other methods; TryPush and Push are hidden by those for *T.
	*Producer
}

// Popper is a Consumer whose elements are pointers to T in the heap.
type Popper[T any] struct {
	// Consumer has the other methods; TryPop and Pop are hidden by those for *T.
	*Consumer
}

// PusherOf returns a producer's handle for pointers to T. That all who use the queue mean the same T is
// theirs to see to. The errors are Queue.Producer's.
func PusherOf[T any](q *Queue) (Pusher[T], error) {
	p, err := q.Producer()
	return Pusher[T]{p}, err
}

// PopperOf returns a consumer's handle for pointers to T. The errors are Queue.Consumer's.
func PopperOf[T any](q *Queue) (Popper[T], error) {
	c, err := q.Consumer()
	return Popper[T]{c}, err
}

// TryPush is Producer.TryPush for a pointer into the heap.
func (p Pusher[T]) TryPush(v *T) error {
	off, err := offsetOf(p.q, v)
	if err != nil {
		return err
	}
	return p.Producer.TryPush(off)
}

// Push is Producer.Push for a pointer into the heap.
func (p Pusher[T]) Push(ctx context.Context, v *T) error {
	off, err := offsetOf(p.q, v)
	if err != nil {
		return err
	}
	return p.Producer.Push(ctx, off)
}

// TryPop is Consumer.TryPop for a pointer into the heap: T lies wholly inside it.
func (c Popper[T]) TryPop() (*T, error) {
	off, err := c.Consumer.TryPop()
	if err != nil {
		return nil, err
	}
	return Pointer[T](c.q, off)
}

// Pop is Consumer.Pop for a pointer into the heap.
func (c Popper[T]) Pop(ctx context.Context) (*T, error) {
	off, err := c.Consumer.Pop(ctx)
	if err != nil {
		return nil, err
	}
	return Pointer[T](c.q, off)
}

// Pointer returns the T at an element's offset, or ErrCorrupt when it does not lie wholly in the data of
// the heap.
func Pointer[T any](q *Queue, off uint64) (*T, error) {
	if !fits[T](off, q.first, q.span) {
		return nil, fmt.Errorf("%w: no %T at %#x", ErrCorrupt, *new(T), off)
	}
	return mem.View[T](q.region.Memory(), off), nil
}

func offsetOf[T any](q *Queue, v *T) (uint64, error) {
	if q == nil {
		return 0, ErrDetached
	}
	off, ok := mem.OffsetOf(q.region.Memory(), v)
	if !ok {
		return 0, fmt.Errorf("push %p: %w", v, ErrOffset)
	}
	return off, nil
}
