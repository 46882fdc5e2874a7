package queue

import (
	"errors"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

// Errors of this package, to be tested with errors.Is. Those of packages heap and alloc come through
// unchanged.
var (
	ErrEmpty       = errors.New("queue is empty")
	ErrFull        = errors.New("queue is full")
	ErrClosed      = errors.New("queue is closed")
	ErrNoProducers = errors.New("all producers have died")
	ErrNoConsumers = errors.New("all consumers have died")
	ErrTaken       = errors.New("another process has this end of the queue")
	ErrTooMany     = errors.New("too many handles")
	ErrKind        = errors.New("queue of another kind")
	ErrOptions     = errors.New("invalid options")
	ErrInUse       = errors.New("queue is in use")
	ErrDetached    = errors.New("handle is closed")
	ErrHolds       = errors.New("hand holds a block")
	ErrHoldsNone   = errors.New("hand holds no block")
	ErrOffset      = heap.ErrOffset
	ErrCorrupt     = heap.ErrCorrupt
	ErrNoSpace     = alloc.ErrNoSpace
)
