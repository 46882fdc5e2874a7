package lock

import (
	"context"
	"errors"
	"structs"
	"time"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// How long a waiter waits in which way. A sleep is no longer than longestSleep, because who should end it
// may have been killed just before: then the waiter looks whether the owner is alive.
const (
	spinTurns     = 100 // looks before the first sleep, some microseconds
	spinPauses    = 4   // between two of them
	shortestSleep = time.Millisecond
	longestSleep  = 500 * time.Millisecond
)

// event is what waiters sleep on. Seq is compared by the kernel and raised by every wake; waiting is 1
// when somebody may be asleep.
type event struct {
	_ structs.HostLayout

	seq     mem.Half
	waiting mem.Half
}

// wake wakes up to n sleepers if there may be any. The caller has changed what they wait for with a full
// barrier in between.
//
// The bit is cleared when all that slept have been woken. Who sets it behind the clearing finds what was changed before.
// Who set it before that, and went to sleep, is woken behind it: so one who finds the bit cleared by somebody else need
// not wake anybody. Killed before that, a sleeper sleeps on for as long as it sleeps at most.
func (e *event) wake(n int) {
	if e.waiting.Load() == 0 {
		return
	}
	if n < all && e.wakeAlways(n) {
		return // there may be more
	}
	e.waiting.Swap(0)
	crashpoint.Hit("lock.event.after-clear")
	e.wakeAlways(all)
}

// wakeAlways wakes up to n sleepers, and reports whether there may be more.
func (e *event) wakeAlways(n int) bool {
	e.seq.Add(1)
	crashpoint.Hit("lock.event.after-seq")
	woken, err := sys.Wake(&e.seq, n)
	return err == nil && (woken >= n || woken == sys.CannotTell)
}

// all is more sleepers than there are.
const all = 1 << 30

// attempt tells what has gone before an attempt to get something.
type attempt struct {
	sleepy  bool // the caller sleeps if it fails
	slept   bool // the caller has slept
	overdue bool // it has slept for a while since the last time, so it is time to ask who is alive
}

// closable is a Peers whose memory somebody may take away: a heap.
type closable interface {
	Stay(*heap.Stay) error
}

// stay keeps the event where it is until the caller leaves, who must not sleep any more when it is over.
func (e *event) stay(p Peers) (s *heap.Stay, err error) {
	s = &heap.Stay{Wake: func() { e.wakeAlways(all) }}
	if h, ok := p.(closable); ok {
		err = h.Stay(s)
	}
	return s, err
}

// await calls try until it reports true or fails, spinning first and sleeping then. It returns heap.ErrClosed when the
// heap is closed meanwhile. undo, if there is one, is given an error of try's and what has kept it from going on, and
// returns what await returns.
func (e *event) await(ctx context.Context, p Peers, try func(attempt) (bool, error), undo func(error) error) error {
	for range spinTurns {
		if done, err := try(attempt{}); done || err != nil {
			return undone(err, undo)
		}
		mem.Pause(spinPauses)
	}
	stay, err := e.stay(p)
	if err != nil {
		return err // there may be nothing left to undo anything in
	}
	defer stay.Leave()
	return undone(e.sleep(ctx, stay, try), undo)
}

func undone(err error, undo func(error) error) error {
	if err == nil || undo == nil {
		return err
	}
	return undo(err)
}

// sleep is await's second half.
func (e *event) sleep(ctx context.Context, stay *heap.Stay, try func(attempt) (bool, error)) error {
	defer sys.WhenDone(ctx, stay.Wake)()
	next, asked := attempt{sleepy: true}, time.Now()
	for nap := shortestSleep; ; nap = min(2*nap, longestSleep) {
		seq := e.seq.Load()
		e.waiting.Swap(1)
		crashpoint.Hit("lock.event.after-waiting")
		if done, err := try(next); done || err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if stay.Over() {
			return heap.ErrClosed
		}
		err := sys.Wait(&e.seq, seq, until(ctx, nap))
		switch {
		case err == nil:
			nap = shortestSleep
		case !errors.Is(err, sys.ErrTimeout):
			return err
		}
		// Others' wakes may keep it from ever sleeping for long.
		next.slept, next.overdue = true, err != nil || time.Since(asked) >= shortestSleep
		if next.overdue {
			asked = time.Now()
		}
	}
}

// until is the time to sleep: nap, or less when ctx ends earlier.
func until(ctx context.Context, nap time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(min(nap, time.Until(deadline)), 0)
	}
	return nap
}
