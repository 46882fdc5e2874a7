package lock

import (
	"context"
	"fmt"
	"structs"

	"github.com/shmheap/shmheap/internal/mem"
)

// MaxPermits is how many permits a Semaphore has at most.
const MaxPermits = 62

// Semaphore lets a number of holders in at once, up to MaxPermits. The zero value has room for none: see
// Init. A permit belongs to the process that acquired it and comes back when that dies, so this is no
// means of signalling: a queue is.
type Semaphore struct {
	_ structs.HostLayout

	permits mem.Half // how many there are
	_       mem.Half
	event   event
	holders [MaxPermits]mem.Word // owners, a permit each
}

// Init sets the number of permits, once, before others use the semaphore. It returns ErrTooMany.
func (s *Semaphore) Init(permits int) error {
	if permits < 0 || permits > MaxPermits {
		return fmt.Errorf("%w: %d permits, at most %d", ErrTooMany, permits, MaxPermits)
	}
	s.permits.Swap(uint32(permits))
	return nil
}

// Acquire takes a permit, waiting for one as long as ctx lets it. The permits of the dead are found when
// it has waited for a millisecond.
func (s *Semaphore) Acquire(ctx context.Context, p Peers) error {
	own, err := writer(p)
	if err != nil {
		return err
	}
	return s.event.await(ctx, p, func(a attempt) (bool, error) {
		at, err := s.table().take(p, own, a.overdue)
		return err == nil && at >= 0, err
	}, nil)
}

// TryAcquire takes a permit, that of a dead holder too, or returns ErrLocked.
func (s *Semaphore) TryAcquire(p Peers) error {
	own, err := writer(p)
	if err != nil {
		return err
	}
	at, err := s.table().take(p, own, true)
	if err == nil && at < 0 {
		return ErrLocked
	}
	return err
}

// Release gives a permit back. It returns ErrNotOwner when this process has none.
func (s *Semaphore) Release(p Peers) error {
	own, err := writer(p)
	if err != nil {
		return err
	}
	if !s.table().drop(own) {
		return ErrNotOwner
	}
	s.event.wake(1)
	return nil
}

func (s *Semaphore) table() holders { return s.holders[:min(s.permits.Load(), MaxPermits)] }
