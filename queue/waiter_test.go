package queue

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmheap/shmheap/heap"
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

// meddler is a member who has something happen while it asks who is alive.
type meddler struct {
	*member
	asked func()
}

func (m *meddler) Alive(id heap.PeerID) (bool, error) {
	if f := m.asked; f != nil {
		m.asked = nil
		f()
	}
	return m.member.Alive(id)
}

// TestDeathIsCountedOnce: who was stopped when it was about to count a dead producer, until another one had done so and a
// new producer had come, does not count it again: that one leaves in order.
func TestDeathIsCountedOnce(t *testing.T) {
	eachKind(t, func(t *testing.T, k Kind) {
		r := newGoRegion(t, testSize)
		here, there := r.join(), r.join()
		slow := &meddler{member: r.join()}
		q := here.queue(t, &Options{Kind: k, Capacity: 2})
		late, err := view(slow, q.off)
		wantErr(t, "view", err, nil)
		mustProducer(t, there.at(t, q.off))
		there.die()
		var next *Producer
		slow.asked = func() {
			if dead, err := q.bereft(ProducerRole); !dead || err != nil {
				t.Errorf("bereft after a death: %t, %v", dead, err)
			}
			next = mustProducer(t, q)
		}
		if dead, err := late.bereft(ProducerRole); dead || err != nil {
			t.Errorf("bereft with a live one: %t, %v", dead, err)
		}
		wantErr(t, "close", next.Close(), nil)
		for _, q := range []*Queue{q, late} {
			if dead, err := q.bereft(ProducerRole); dead || err != nil {
				t.Errorf("bereft after one that left in order: %t, %v", dead, err)
			}
		}
	})
}
