package lock

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmheap/shmheap/heap"
)

// bustle wakes the sleepers in vain all the time, until the test is done with it.
func bustle(e *event) (stop func()) {
	var over atomic.Bool
	var group sync.WaitGroup
	group.Go(func() {
		for !over.Load() {
			e.wakeAlways(all)
		}
	})
	return func() { over.Store(true); group.Wait() }
}

// TestMutexTurns: who sleeps asks for its turn although it is woken in vain too often to sleep for long.
func TestMutexTurns(t *testing.T) {
	var w world
	var m Mutex
	greedy, modest := w.join(), w.join()
	defer bustle(&m.event)()
	begin := time.Now()
	for range 30 {
		want(t, "lock", m.Lock(t.Context(), greedy), nil)
		turn := make(chan error)
		go func() { turn <- m.Lock(t.Context(), modest) }()
		for m.word.Load()&bitTurn == 0 && time.Since(begin) < time.Minute {
			time.Sleep(100 * time.Microsecond)
		}
		want(t, "unlock", m.Unlock(greedy), nil)
		want(t, "lock", <-turn, nil)
		want(t, "unlock", m.Unlock(modest), nil)
	}
	if took := time.Since(begin); took > 1500*time.Millisecond {
		t.Errorf("30 turns took %v", took)
	}
}

// TestDeadAreFoundInTheBustle: a waiter that is woken all the time asks who is alive all the same.
func TestDeadAreFoundInTheBustle(t *testing.T) {
	var w world
	var s Semaphore
	want(t, "init", s.Init(1), nil)
	one := w.join()
	defer bustle(&s.event)()
	begin := time.Now()
	for range 30 {
		dead := w.join()
		want(t, "acquire", s.Acquire(t.Context(), dead), nil)
		dead.die()
		want(t, "acquire what the dead held", s.Acquire(t.Context(), one), nil)
		want(t, "release", s.Release(one), nil)
	}
	if took := time.Since(begin); took > 1500*time.Millisecond {
		t.Errorf("30 deaths took %v", took)
	}
}

// TestWakesAtOnce: of two sleepers that are woken one by one at the same time both wake up.
func TestWakesAtOnce(t *testing.T) {
	var w world
	one, two := w.join(), w.join()
	for round := range 10 {
		var s Semaphore
		want(t, "init", s.Init(2), nil)
		want(t, "acquire", s.Acquire(t.Context(), one), nil)
		want(t, "acquire", s.Acquire(t.Context(), one), nil)
		var group, ready sync.WaitGroup
		for range 2 {
			group.Go(func() { want(t, "acquire", s.Acquire(t.Context(), two), nil) })
		}
		time.Sleep(260 * time.Millisecond) // they sleep for longer and longer
		var line atomic.Int32
		for range 2 {
			ready.Go(func() {
				for line.Add(1); line.Load() < 2; {
				}
				want(t, "release", s.Release(one), nil)
			})
		}
		ready.Wait()
		begin := time.Now()
		group.Wait()
		if took := time.Since(begin); took > 120*time.Millisecond {
			t.Fatalf("round %d: a sleeper was woken after %v", round, took)
		}
	}
}

// meddler is a peer who has something happen in the middle of a step: when it says who it is, or asks who is alive.
type meddler struct {
	peer
	named, asked func()
}

func (m *meddler) Peer() heap.PeerID {
	if f := m.named; f != nil {
		m.named = nil
		f()
	}
	return m.peer.Peer()
}

func (m *meddler) Alive(id heap.PeerID) (bool, error) {
	if f := m.asked; f != nil {
		m.asked = nil
		f()
	}
	return m.peer.Alive(id)
}

// TestRLockSeesDamage: a reader that has just found the lock free does not get it when a writer has died and another
// one left the damage meanwhile, or has given the lock up for good.
func TestRLockSeesDamage(t *testing.T) {
	for word, wanted := range map[uint64]error{bitDamaged: ErrOwnerDied, bitLost: ErrNotRecoverable, bitDamaged | bitWaiting: ErrOwnerDied} {
		var w world
		var rw RWMutex
		dead, live := w.join(), w.join()
		for i := range rw.readers {
			rw.readers[i].Swap(uint64(live.id))
		}
		rw.readers[3].Swap(uint64(dead.id))
		dead.die()
		p := &meddler{peer: w.join(), asked: func() { rw.writer.word.Swap(word) }}
		want(t, "read", rw.RLock(t.Context(), p), wanted)
	}
}

// TestBarrierLatecomer: who was stopped while it came, until the round was over, does not take the place of one who has
// come to the next.
func TestBarrierLatecomer(t *testing.T) {
	var w world
	var b Barrier
	want(t, "init", b.Init(3), nil)
	one, two, three := w.join(), w.join(), w.join()
	late := &meddler{peer: w.join()}
	late.named = func() {
		for _, p := range []peer{one, two, three} {
			b.arrive(p)
		}
		b.passed(1)
		b.arrive(one)
		b.arrive(two)
	}
	if round, _ := b.arrive(late); round == 1 {
		if _, at := b.arrive(three); at < 0 {
			t.Fatal("there is no room for the third")
		}
	}
	if b.passed(2); roundOf(b.round.Load()) != 3 {
		t.Errorf("three have come to round 2, and it is not over: round %#x", b.round.Load())
	}
}

// TestBarrierWithoutParties: there is nobody to wait for before Init, which is an error.
func TestBarrierWithoutParties(t *testing.T) {
	var w world
	var b Barrier
	want(t, "wait", b.Wait(soon(t), w.join()), ErrCorrupt)
}

// over is a context that ends without waking anybody, like one whose deadline has just passed.
type over struct {
	context.Context
	ended *atomic.Bool
}

func (o over) Done() <-chan struct{} { return nil }

func (o over) Err() error {
	if o.ended.Load() {
		return context.DeadlineExceeded
	}
	return nil
}

// TestCondPassesOn: a signal that wakes one whose context has ended wakes another one.
func TestCondPassesOn(t *testing.T) {
	var w world
	var m Mutex
	var c Cond
	one, two := w.join(), w.join()
	var group sync.WaitGroup
	ended := &atomic.Bool{}
	wait := func(p peer, ctx context.Context, wanted error) {
		want(t, "lock", m.Lock(t.Context(), p), nil)
		group.Go(func() {
			want(t, "wait", c.Wait(ctx, p, &m), wanted)
			want(t, "unlock", m.Unlock(p), nil)
		})
		for m.TryLock(w.join()) != nil { // until it has given the mutex back
			time.Sleep(time.Millisecond)
		}
		m.word.Swap(0)
		time.Sleep(5 * time.Millisecond) // and sleeps
	}
	wait(one, over{t.Context(), ended}, context.DeadlineExceeded)
	wait(two, t.Context(), nil)
	ended.Store(true)
	begin := time.Now()
	c.Signal()
	group.Wait()
	if took := time.Since(begin); took > 200*time.Millisecond {
		t.Errorf("took %v", took)
	}
}
