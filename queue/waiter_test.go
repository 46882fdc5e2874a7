package queue

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
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

// TestDeathInTheBustle: a sleeper that is woken in vain all the time learns all the same that the other side has died.
func TestDeathInTheBustle(t *testing.T) {
	r := newGoRegion(t, testSize)
	here, there := r.join(), r.join()
	q := here.queue(t, &Options{Kind: MPMC, Capacity: 8})
	c := mustConsumer(t, q)
	c.SetSpin(0)
	var over atomic.Bool
	var group sync.WaitGroup
	group.Go(func() {
		for !over.Load() {
			q.head.Pops.ringAll()
		}
	})
	begin := time.Now()
	for range 40 {
		mustProducer(t, there.at(t, q.off))
		there.die()
		_, err := c.Pop(t.Context())
		wantErr(t, "pop", err, ErrNoProducers)
		there = r.join()
	}
	over.Store(true)
	group.Wait()
	if took := time.Since(begin); took > 1500*time.Millisecond {
		t.Errorf("40 deaths took %v", took)
	}
}
