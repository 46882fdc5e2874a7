package lock

import (
	"context"
	"errors"
	"structs"
	"time"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/sys"
)

// Cond is a condition that holders of a Mutex wait for. The zero value has no waiters.
type Cond struct {
	_ structs.HostLayout

	event event
}

// Wait gives the mutex back, sleeps until somebody signals, and takes the mutex again. It may return
// without a signal, and does so every half second, in case who was to signal died: look at the condition
// in a loop. With ctx's error the mutex is held again too, unless that cannot be had either: every
// other error is one of Mutex.Unlock or Mutex.Lock, of which ErrOwnerDied means that it is held, and heap.ErrClosed that
// there is nothing to hold any more.
func (c *Cond) Wait(ctx context.Context, p Peers, m *Mutex) error {
	if _, err := writer(p); err != nil {
		return err
	}
	stay, err := c.event.stay(p)
	if err != nil {
		return err
	}
	defer stay.Leave()
	seq := c.event.seq.Load()
	c.event.waiting.Swap(1)
	if err := m.Unlock(p); err != nil {
		return err
	}
	crashpoint.Hit("lock.cond.after-unlock")
	if !stay.Over() {
		stop := sys.WhenDone(ctx, stay.Wake)
		err = sys.Wait(&c.event.seq, seq, until(ctx, longestSleep))
		stop()
	}
	switch {
	case stay.Over():
		return heap.ErrClosed
	case errors.Is(err, sys.ErrTimeout):
		err = nil
	case err == nil && ended(ctx) != nil:
		c.Signal() // it may have been woken by one that is for who goes on
	}
	if lockErr := m.Lock(context.WithoutCancel(ctx), p); lockErr != nil {
		return lockErr
	}
	return errors.Join(err, ended(ctx))
}

// ended is ctx's error. A sleep until its deadline may end before the context's own timer does.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// Signal wakes one waiter. The caller holds the mutex or has held it since the condition became true.
func (c *Cond) Signal() { c.event.wake(1) }

// Broadcast wakes all waiters.
func (c *Cond) Broadcast() { c.event.wake(all) }
