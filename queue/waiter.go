package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// How long a handle waits in which way.
const (
	// DefaultSpin is how long a handle looks at the queue before it sleeps: about what going to sleep
	// and being woken costs.
	DefaultSpin = 20 * time.Microsecond
	// shortestSleep and longestSleep bound a sleep that nobody ends. It doubles from one to the other,
	// and after each the sleeper looks whether the other side is still alive. A waker that was killed
	// between its change and the wake delays a sleeper by no more than this.
	shortestSleep = time.Millisecond
	longestSleep  = 500 * time.Millisecond
	// A waiter that spins looks a few times as fast as it can, and then with pauses.
	eagerLooks = 100
	spinPauses = 4
)

// waiter is what a handle waits with.
type waiter struct {
	heap    closable // where it stays meanwhile, nil where nobody takes the memory away
	stay    heap.Stay
	role    Role
	bereft  func(Role) (bool, error) // whether all of a role have died
	bell    *Bell
	state   *mem.Word // where the bit goes
	sticky  uint64    // the bit of State that says that this side sleeps
	spin    time.Duration
	budget  time.Duration // what is left of spin after sleeps that were worth it
	several bool          // others of the role may be asleep too
	more    func() bool   // whether another one of the role could go on
	rescue  func()        // what to do now and then while it sleeps, nil for nothing
}

func newWaiter(q *Queue, role Role, more func() bool) waiter {
	w := waiter{role: role, bereft: q.bereft, more: more, state: &q.head.State, sticky: StatePopSleep, several: q.kind >= MPMC}
	bell := &q.head.Pops
	if role == ProducerRole {
		bell, w.sticky, w.several = &q.head.Pushes, StatePushSleep, q.kind != SPSC
	}
	w.waitAt(q.region, bell)
	return w
}

// waitAt says where the waiter sleeps.
func (w *waiter) waitAt(r region, b *Bell) {
	w.heap, _ = r.(closable)
	w.bell, w.stay.Wake = b, b.ringAll
	w.setSpin(DefaultSpin)
}

func (w *waiter) setSpin(d time.Duration) { w.spin, w.budget = d, d }

// await calls try until it is done or fails with another error than busy itself, or until ctx is done, the
// other side has died or the heap is being closed: by spinning, then in its sleep. It tries at least once.
func (w *waiter) await(ctx context.Context, busy error, try func() error) error {
	for range eagerLooks {
		if err := try(); err != busy || w.budget <= 0 {
			if err != busy {
				return err
			}
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.heap != nil {
		if err := w.heap.Stay(&w.stay); err != nil {
			return fmt.Errorf("%w: %w", ErrDetached, err)
		}
		defer w.stay.Leave()
	}
	if err := w.spinFor(ctx, w.budget, busy, try); err != busy {
		return err
	}
	return w.sleep(ctx, busy, try)
}

// spinFor looks at the clock and at ctx once in a while only, as that takes longer than looking at the queue.
func (w *waiter) spinFor(ctx context.Context, d time.Duration, busy error, try func() error) error {
	if d <= 0 {
		return busy
	}
	for end := time.Now().Add(d); ; {
		for range 16 {
			mem.Pause(spinPauses)
			if err := try(); err != busy {
				return err
			}
		}
		if time.Now().After(end) || ctx.Err() != nil || w.stay.Over() {
			return busy
		}
	}
}

// sleep asks whether the other side is alive after a sleep that nobody has ended, and now and then when others' wakes keep
// it from sleeping for long.
func (w *waiter) sleep(ctx context.Context, busy error, try func() error) error {
	defer sys.WhenDone(ctx, w.stay.Wake)()
	if w.state.Load()&w.sticky == 0 {
		w.state.Or(w.sticky)
	}
	begin := time.Now()
	asked, patience := begin, shortestSleep
	for nap := shortestSleep; ; nap = min(2*nap, longestSleep) {
		seq := w.bell.listen()
		if err := try(); err != busy {
			w.wokeUp(time.Since(begin))
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if w.stay.Over() {
			return ErrDetached
		}
		err := w.bell.sleep(seq, untilDeadline(ctx, nap))
		switch {
		case err == nil:
			nap = shortestSleep
		case !errors.Is(err, sys.ErrTimeout):
			return fmt.Errorf("wait: %w", err)
		}
		if err == nil && time.Since(asked) < patience {
			continue
		}
		asked, patience = time.Now(), min(2*patience, longestSleep)
		if err := w.lonely(busy, try); err != busy {
			return err
		}
	}
}

// untilDeadline is the time to sleep: nap, or less when ctx ends earlier.
func untilDeadline(ctx context.Context, nap time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(min(nap, time.Until(deadline)), 0)
	}
	return nap
}

// lonely tries once more after it has found that the other side is dead, as that may have pushed
// or popped before it died.
func (w *waiter) lonely(busy error, try func() error) error {
	if w.rescue != nil {
		w.rescue()
	}
	other := 1 - w.role
	dead, err := w.bereft(other)
	switch {
	case err != nil:
		return err
	case !dead:
		return busy
	}
	if err := try(); err != busy {
		return err
	}
	if other == ProducerRole {
		return ErrNoProducers
	}
	return ErrNoConsumers
}

// wokeUp hands the bell on when there is more to do: one sleeper is woken at a time. Need stays set where
// others may be asleep. It also learns from the sleep whether to spin next time: a sleep that took no longer than a few spins was not
// worth it.
func (w *waiter) wokeUp(slept time.Duration) {
	if !w.several {
		w.bell.Need.Swap(0)
	} else if w.more() {
		w.bell.pass()
	}
	w.budget = w.spin
	if slept > 8*w.spin {
		w.budget = w.spin / 8
	}
}

// Push is TryPush that waits while the queue is full: it spins for a moment and then sleeps. It also
// returns ctx's error, and ErrNoConsumers when the last live consumer has died.
func (p *Producer) Push(ctx context.Context, offset uint64) error {
	if err := p.TryPush(offset); !errors.Is(err, ErrFull) {
		return err
	}
	return p.waiter.await(ctx, ErrFull, func() error { return p.TryPush(offset) })
}

// Pop is TryPop that waits while the queue is empty: it spins for a moment and then sleeps. It also
// returns ctx's error, and ErrNoProducers when the last live producer has died and the queue is empty;
// producers that have closed their handles do not count, and with a new one the error is gone.
func (c *Consumer) Pop(ctx context.Context) (uint64, error) {
	offset, err := c.TryPop()
	if !errors.Is(err, ErrEmpty) {
		return offset, err
	}
	err = c.waiter.await(ctx, ErrEmpty, func() error {
		offset, err = c.TryPop()
		return err
	})
	return offset, err
}

// SetSpin says how long Push looks at the queue before it sleeps, DefaultSpin without it. 0 means that
// it sleeps at once, which is kind to others where processors are few.
func (p *Producer) SetSpin(d time.Duration) { p.waiter.setSpin(d) }

// SetSpin says how long Pop looks at the queue before it sleeps: see Producer.SetSpin.
func (c *Consumer) SetSpin(d time.Duration) { c.waiter.setSpin(d) }
