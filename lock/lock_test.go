package lock

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/mem"
)

// world is a set of peers that a test lets live and die.
type world struct {
	mu    sync.Mutex
	alive map[heap.PeerID]bool
}

// peer is one of them.
type peer struct {
	world *world
	id    heap.PeerID
}

func (w *world) join() peer {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.alive == nil {
		w.alive = make(map[heap.PeerID]bool)
	}
	p := peer{w, heap.MakePeerID(uint16(len(w.alive)), 1)}
	w.alive[p.id] = true
	return p
}

func (p peer) die() {
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	p.world.alive[p.id] = false
}

func (p peer) Peer() heap.PeerID { return p.id }

func (p peer) Alive(id heap.PeerID) (bool, error) {
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	return p.world.alive[id], nil
}

func want(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) || want == nil && got != nil {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// soon is a context that ends in a moment.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestMutexExcludes(t *testing.T) {
	var w world
	var m Mutex
	count, inside := 0, atomic.Int32{}
	var group sync.WaitGroup
	for range 4 {
		p := w.join()
		group.Go(func() {
			for range 5000 {
				want(t, "lock", m.Lock(t.Context(), p), nil)
				if inside.Add(1) != 1 {
					t.Error("two hold the lock")
				}
				count++
				inside.Add(-1)
				want(t, "unlock", m.Unlock(p), nil)
			}
		})
	}
	group.Wait()
	if count != 20_000 {
		t.Errorf("counted %d", count)
	}
}

func TestMutexErrors(t *testing.T) {
	var w world
	var m Mutex
	one, two := w.join(), w.join()
	want(t, "unlock", m.Unlock(one), ErrNotOwner)
	want(t, "try", m.TryLock(one), nil)
	want(t, "try again", m.TryLock(two), ErrLocked)
	want(t, "unlock by another", m.Unlock(two), ErrNotOwner)
	want(t, "mark by another", m.MarkConsistent(two), ErrNotOwner)
	want(t, "lock", m.Lock(soon(t), two), context.DeadlineExceeded)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(3*time.Millisecond, cancel)
	want(t, "lock", m.Lock(ctx, two), context.Canceled)
	want(t, "unlock", m.Unlock(one), nil)
	want(t, "lock", m.Lock(t.Context(), two), nil)
}

// TestMutexOwnerDies: the next one is told, and says that all is well or nobody gets it again.
func TestMutexOwnerDies(t *testing.T) {
	var w world
	var m Mutex
	one, two, three := w.join(), w.join(), w.join()
	want(t, "lock", m.Lock(t.Context(), one), nil)
	one.die()
	want(t, "lock after a death", m.Lock(t.Context(), two), ErrOwnerDied)
	two.die()
	want(t, "try after two", m.TryLock(three), ErrOwnerDied)
	want(t, "mark", m.MarkConsistent(three), nil)
	want(t, "unlock", m.Unlock(three), nil)
	want(t, "lock", m.Lock(t.Context(), three), nil)
	three.die()
	four := w.join()
	want(t, "lock", m.Lock(t.Context(), four), ErrOwnerDied)
	want(t, "unlock", m.Unlock(four), nil)
	want(t, "lock what is lost", m.Lock(t.Context(), four), ErrNotRecoverable)
	want(t, "try what is lost", m.TryLock(four), ErrNotRecoverable)
}

// TestMutexIsFair: who sleeps gets the lock although another one takes it again and again.
func TestMutexIsFair(t *testing.T) {
	var w world
	var m Mutex
	greedy, modest := w.join(), w.join()
	stop := atomic.Bool{}
	var group sync.WaitGroup
	group.Go(func() {
		for !stop.Load() {
			want(t, "lock", m.Lock(t.Context(), greedy), nil)
			want(t, "unlock", m.Unlock(greedy), nil)
		}
	})
	begin := time.Now()
	for range 20 {
		want(t, "lock", m.Lock(t.Context(), modest), nil)
		want(t, "unlock", m.Unlock(modest), nil)
	}
	stop.Store(true)
	group.Wait()
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("20 turns took %v", took)
	}
}

func TestRWMutex(t *testing.T) {
	var w world
	var rw RWMutex
	one, two := w.join(), w.join()
	want(t, "read", rw.RLock(t.Context(), one), nil)
	want(t, "read", rw.RLock(t.Context(), two), nil)
	want(t, "read twice", rw.RLock(t.Context(), two), nil)
	want(t, "write", rw.Lock(soon(t), one), context.DeadlineExceeded)
	want(t, "read end", rw.RUnlock(one), nil)
	want(t, "read end", rw.RUnlock(one), ErrNotOwner)
	two.die()
	want(t, "write after dead readers", rw.Lock(t.Context(), one), nil)
	three := w.join()
	want(t, "read", rw.RLock(soon(t), three), context.DeadlineExceeded)
	want(t, "write", rw.Lock(soon(t), three), context.DeadlineExceeded)
	want(t, "write end", rw.Unlock(three), ErrNotOwner)
	one.die()
	want(t, "read after a dead writer", rw.RLock(t.Context(), three), ErrOwnerDied)
	want(t, "write after a dead writer", rw.Lock(t.Context(), three), ErrOwnerDied)
	four := w.join()
	want(t, "read during the repair", rw.RLock(soon(t), four), context.DeadlineExceeded)
	want(t, "mark", rw.MarkConsistent(three), nil)
	want(t, "write end", rw.Unlock(three), nil)
	want(t, "read", rw.RLock(t.Context(), four), nil)
}

// TestRWMutexGivesUpUnrepaired: who inherits a lock and cannot wait for the readers leaves the damage to
// the next one.
func TestRWMutexGivesUpUnrepaired(t *testing.T) {
	var w world
	var rw RWMutex
	one, two, three := w.join(), w.join(), w.join()
	want(t, "write", rw.Lock(t.Context(), one), nil)
	rw.readers[5].Swap(uint64(three.id)) // is about to see the writer
	one.die()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	want(t, "write", rw.Lock(ctx, two), context.DeadlineExceeded)
	rw.readers[5].Swap(0)
	want(t, "read", rw.RLock(t.Context(), two), ErrOwnerDied)
	want(t, "write", rw.Lock(t.Context(), two), ErrOwnerDied)
}

func TestRWMutexExcludes(t *testing.T) {
	var w world
	var rw RWMutex
	var value [2]int
	var group sync.WaitGroup
	for i := range 4 {
		p := w.join()
		group.Go(func() {
			for n := range 2000 {
				if i == 0 || n%10 == 0 {
					want(t, "write", rw.Lock(t.Context(), p), nil)
					value[0]++
					value[1]++
					want(t, "write end", rw.Unlock(p), nil)
					continue
				}
				want(t, "read", rw.RLock(t.Context(), p), nil)
				if value[0] != value[1] {
					t.Error("a reader sees a writer at work")
				}
				want(t, "read end", rw.RUnlock(p), nil)
			}
		})
	}
	group.Wait()
	if value[0] != 2000+3*200 {
		t.Errorf("counted %d", value[0])
	}
}

func TestCond(t *testing.T) {
	var w world
	var m Mutex
	var c Cond
	one, two := w.join(), w.join()
	turns, turn := 0, 0
	play := func(p peer, mine int) {
		for range 500 {
			want(t, "lock", m.Lock(t.Context(), p), nil)
			for turn != mine {
				want(t, "wait", c.Wait(t.Context(), p, &m), nil)
			}
			turns++
			turn = 1 - turn
			c.Signal()
			want(t, "unlock", m.Unlock(p), nil)
		}
	}
	var group sync.WaitGroup
	group.Go(func() { play(one, 0) })
	group.Go(func() { play(two, 1) })
	group.Wait()
	if turns != 1000 {
		t.Errorf("%d turns", turns)
	}
	want(t, "lock", m.Lock(t.Context(), one), nil)
	want(t, "wait", c.Wait(soon(t), one, &m), context.DeadlineExceeded)
	want(t, "unlock", m.Unlock(one), nil)
	want(t, "wait without the lock", c.Wait(t.Context(), one, &m), ErrNotOwner)
}

func TestCondBroadcast(t *testing.T) {
	var w world
	var m Mutex
	var c Cond
	var group sync.WaitGroup
	open := false
	for range 5 {
		p := w.join()
		group.Go(func() {
			want(t, "lock", m.Lock(t.Context(), p), nil)
			for !open {
				want(t, "wait", c.Wait(t.Context(), p, &m), nil)
			}
			want(t, "unlock", m.Unlock(p), nil)
		})
	}
	time.Sleep(5 * time.Millisecond)
	p := w.join()
	want(t, "lock", m.Lock(t.Context(), p), nil)
	open = true
	c.Broadcast()
	want(t, "unlock", m.Unlock(p), nil)
	group.Wait()
}

func TestSemaphore(t *testing.T) {
	var w world
	var s Semaphore
	want(t, "init", s.Init(MaxPermits+1), ErrTooMany)
	one, two := w.join(), w.join()
	want(t, "acquire of none", s.TryAcquire(one), ErrLocked)
	want(t, "init", s.Init(2), nil)
	want(t, "acquire", s.Acquire(t.Context(), one), nil)
	want(t, "acquire", s.TryAcquire(two), nil)
	want(t, "acquire a third", s.TryAcquire(two), ErrLocked)
	want(t, "acquire a third", s.Acquire(soon(t), two), context.DeadlineExceeded)
	want(t, "release", s.Release(two), nil)
	want(t, "release", s.Release(two), ErrNotOwner)
	want(t, "acquire", s.Acquire(t.Context(), two), nil)
	one.die()
	want(t, "acquire what the dead held", s.Acquire(t.Context(), two), nil)
}

func TestSemaphoreLimits(t *testing.T) {
	var w world
	var s Semaphore
	want(t, "init", s.Init(3), nil)
	var group sync.WaitGroup
	var inside atomic.Int32
	for range 6 {
		p := w.join()
		group.Go(func() {
			for range 500 {
				want(t, "acquire", s.Acquire(t.Context(), p), nil)
				if inside.Add(1) > 3 {
					t.Error("more than three are inside")
				}
				inside.Add(-1)
				want(t, "release", s.Release(p), nil)
			}
		})
	}
	group.Wait()
}

func TestOnce(t *testing.T) {
	var w world
	var o Once
	var runs atomic.Int32
	var group sync.WaitGroup
	for range 4 {
		p := w.join()
		group.Go(func() {
			want(t, "do", o.Do(t.Context(), p, func(again bool) error {
				time.Sleep(2 * time.Millisecond)
				if runs.Add(1); again {
					t.Error("again")
				}
				return nil
			}), nil)
		})
	}
	group.Wait()
	if runs.Load() != 1 || !o.Done() {
		t.Errorf("done %d times", runs.Load())
	}
}

// TestOnceAgain: after a failure or a death the next one does it, and knows.
func TestOnceAgain(t *testing.T) {
	var w world
	var o Once
	one, two, three := w.join(), w.join(), w.join()
	failure := errors.New("failure")
	want(t, "do", o.Do(t.Context(), one, func(again bool) error { return failure }), failure)
	if o.Done() {
		t.Error("done")
	}
	o.word.Swap(uint64(two.id))
	want(t, "do while another one does", o.Do(soon(t), one, nil), context.DeadlineExceeded)
	two.die()
	told := false
	want(t, "do", o.Do(t.Context(), three, func(again bool) error { told = again; return nil }), nil)
	if !told || !o.Done() {
		t.Errorf("told %t, done %t", told, o.Done())
	}
}

func TestBarrier(t *testing.T) {
	var w world
	var b Barrier
	want(t, "init", b.Init(0), ErrTooMany)
	want(t, "init", b.Init(MaxParties+1), ErrTooMany)
	want(t, "init", b.Init(3), nil)
	var group sync.WaitGroup
	var come atomic.Int32
	for range 3 {
		p := w.join()
		group.Go(func() {
			for round := range int32(300) {
				come.Add(1)
				want(t, "wait", b.Wait(t.Context(), p), nil)
				if n := come.Load(); n < 3*(round+1) {
					t.Errorf("round %d: %d have come", round, n)
				}
			}
		})
	}
	group.Wait()
	one, two := w.join(), w.join()
	want(t, "wait alone", b.Wait(soon(t), one), context.DeadlineExceeded)
	group.Go(func() { want(t, "wait", b.Wait(t.Context(), one), nil) })
	group.Go(func() { want(t, "wait", b.Wait(t.Context(), two), nil) })
	want(t, "wait", b.Wait(t.Context(), w.join()), nil)
	group.Wait()
}

func TestGuard(t *testing.T) {
	var w world
	var m Mutex
	memory := make([]byte, 64)
	_, err := RegisterAt[uint32](memory, 62)
	want(t, "register outside", err, ErrCorrupt)
	_, err = RegisterAt[uint64](memory, 4)
	want(t, "register misaligned", err, ErrCorrupt)
	r, err := RegisterAt[uint32](memory, 8)
	want(t, "register", err, nil)
	var group sync.WaitGroup
	for i := range 4 {
		g := NewGuard(w.join(), &m, r)
		group.Go(func() {
			for n := range 1001 {
				_, err := g.Toggle(t.Context(), 1<<i)
				want(t, "toggle", err, nil)
				if n%2 == 1 {
					_, err = g.SetBits(t.Context(), 1<<(i+8))
				} else {
					_, err = g.ClearBits(t.Context(), 1<<(i+8))
				}
				want(t, "set", err, nil)
			}
		})
	}
	group.Wait()
	dying := w.join()
	g := NewGuard(w.join(), &m, r)
	if v := g.Read(); v != 0xf {
		t.Errorf("register is %#x", v)
	}
	want(t, "lock", m.Lock(t.Context(), dying), nil)
	dying.die()
	before, after, err := g.Update(t.Context(), func(v uint32) uint32 { return v + 1 })
	if before != 0xf || after != 0x10 || err != nil {
		t.Errorf("update of %#x to %#x: %v", before, after, err)
	}
	wide, err := RegisterAt[uint64](memory, 8)
	if err != nil || wide.Read() != 0x10 {
		t.Errorf("wide register is %#x, %v", wide.Read(), err)
	}
	wide.Write(1 << 40)
	if g.Read() != 0 {
		t.Errorf("register is %#x", g.Read())
	}
}

// TestBarrierOfTheDead: parties that have all come and died before one of them saw it keep nobody out.
func TestBarrierOfTheDead(t *testing.T) {
	var w world
	var b Barrier
	want(t, "init", b.Init(2), nil)
	for range 2 {
		p := w.join()
		b.arrive(p)
		p.die()
	}
	one, two := w.join(), w.join()
	var group sync.WaitGroup
	group.Go(func() { want(t, "wait", b.Wait(t.Context(), one), nil) })
	want(t, "wait", b.Wait(t.Context(), two), nil)
	group.Wait()
}

// TestBarrierGivesUp: a party that leaves while another one has just seen that all have come has not come, or the
// other one does not go on.
func TestBarrierGivesUp(t *testing.T) {
	var w world
	var b Barrier
	want(t, "init", b.Init(2), nil)
	one, two, three := w.join(), w.join(), w.join()
	round, at := b.arrive(one)
	b.arrive(two)
	seen := b.round.Load()
	if !b.allCome(round) || !b.leave(one, round, at) || b.end(seen) || b.passed(round) {
		t.Fatalf("one has left, and the other one goes on: round %#x", b.round.Load())
	}
	if _, at = b.arrive(three); !b.passed(round) || b.leave(three, round, at) {
		t.Errorf("two have come, and one of them has left: round %#x", b.round.Load())
	}
	if next, at := b.arrive(one); next != round+1 || at < 0 || b.passed(next) {
		t.Errorf("round %d begins at %d", next, at)
	}
}

// TestBarrierOutcomes: parties that give up at any time have come all or none.
func TestBarrierOutcomes(t *testing.T) {
	var w world
	one, two := w.join(), w.join()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	together := 0
	for i := 0; together < 100 && i < 100_000; i++ {
		var b Barrier
		want(t, "init", b.Init(2), nil)
		first := make(chan error)
		go func() { first <- b.Wait(ended, one) }()
		mem.Pause(uint32(i % 800))
		second := b.Wait(ended, two)
		if err := <-first; (err == nil) != (second == nil) {
			t.Fatalf("try %d: one says %v, the other %v", i, err, second)
		}
		if second == nil {
			together++
		}
	}
}

// TestPanics: what panics under a lock leaves it to others, for the process lives on.
func TestPanics(t *testing.T) {
	var w world
	var m Mutex
	var o Once
	one, two := w.join(), w.join()
	r, err := RegisterAt[uint32](make([]byte, 64), 8)
	want(t, "register", err, nil)
	panics := func(f func()) {
		t.Helper()
		defer func() {
			if recover() != "oops" {
				t.Error("does not panic")
			}
		}()
		f()
	}
	panics(func() {
		_, _, _ = NewGuard(one, &m, r).Update(t.Context(), func(uint32) uint32 { panic("oops") })
	})
	if _, err := NewGuard(two, &m, r).SetBits(soon(t), 3); err != nil || r.Read() != 3 {
		t.Errorf("register is %#x, %v", r.Read(), err)
	}
	panics(func() { _ = o.Do(t.Context(), one, func(bool) error { panic("oops") }) })
	told := false
	want(t, "do", o.Do(soon(t), two, func(again bool) error { told = again; return nil }), nil)
	if !told || !o.Done() {
		t.Errorf("told %t, done %t", told, o.Done())
	}
}

// TestEndIsOver: nothing touches a lock any more when a wait has returned because its context has ended: the heap may be
// closed.
func TestEndIsOver(t *testing.T) {
	var w world
	var m Mutex
	var c Cond
	one, two := w.join(), w.join()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	want(t, "lock", m.Lock(t.Context(), one), nil)
	for range 50 {
		want(t, "lock", m.Lock(ctx, two), context.Canceled)
		locked := m.event.seq.Load()
		want(t, "wait", c.Wait(ctx, one, &m), context.Canceled)
		waited := c.event.seq.Load()
		time.Sleep(100 * time.Microsecond)
		if l, c := m.event.seq.Load()-locked, c.event.seq.Load()-waited; l > 1 || c != 0 { // Wait gives the mutex back once
			t.Fatalf("sleepers were woken since, %d and %d times", l, c)
		}
	}
}
