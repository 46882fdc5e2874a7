package queue

import (
	"context"
	"errors"
	"testing"
	"time"
)

// ending is a context that is done, and says so from the second time on that it is asked.
type ending struct {
	context.Context
	asked bool
}

func (e *ending) Err() error {
	if !e.asked {
		e.asked = true
		return nil
	}
	return e.Context.Err()
}

// TestEndIsOver: nothing touches the queue any more when Pop has returned because its context has ended: the heap may be
// closed.
func TestEndIsOver(t *testing.T) {
	m := newGoRegion(t, testSize).join()
	q := m.queue(t, &Options{Kind: MPMC, Capacity: 8})
	c := mustConsumer(t, q)
	c.SetSpin(0)
	for range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Pop(&ending{Context: ctx}); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		before := q.head.Pops.Seq.Load()
		time.Sleep(100 * time.Microsecond)
		if now := q.head.Pops.Seq.Load(); now != before {
			t.Fatalf("the bell has rung %d times since", now-before)
		}
	}
}
