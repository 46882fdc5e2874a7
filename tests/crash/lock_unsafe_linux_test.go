//go:build (amd64 || arm64) && !crashpoint && !shmheap_portable

package crash

import (
	"context"
	"errors"
	"fmt"
	"structs"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/lock"
)

// locks is a block with a lock of each kind, what the locks protect, and what the processes that use them
// say of themselves. It is a root, and in a slot of the ledger.
type locks struct {
	_ structs.HostLayout

	mutex   lock.Mutex
	rw      lock.RWMutex
	cond    lock.Cond
	permits lock.Semaphore
	once    lock.Once
	barrier lock.Barrier
	guard   lock.Mutex

	register uint64 // of a device, as far as the guard knows
	mutual   claim  // of mutex
	writing  claim  // of rw
	kept     uint64 // permits that the host has
	runs     uint64 // of what once is for, stored by it
	returned uint64 // times that Do has returned without an error
	set      uint64 // times that the register has been changed, stored afterwards
}

const (
	locksName = "locks"
	locksSlot = 452
	permits   = 2
	onceFails = 1 << 32 // added to runs by one that fails

	registerBefore, registerBit = 0xf0, 8
)

// claim is what the holder of a lock says of itself, and what the lock protects.
type claim struct {
	_ structs.HostLayout

	stage       atomic.Uint64
	begun, done uint64    // changes of the pair
	pair        [2]uint64 // equal when nobody is inside
	unrepaired  uint64    // a death was told of, and not yet that all is well
	gaveUp      uint64    // the lock is being given back like that
	holder      heap.PeerID
}

// Stages of who is about to die.
const (
	untouched = iota
	asking
	inside
	leaving
	left
)

// exclusive is a lock that one at a time has.
type exclusive interface {
	Lock(context.Context, lock.Peers) error
	Unlock(lock.Peers) error
	MarkConsistent(lock.Peers) error
}

// which chooses one of them, with its claim.
type which func(*locks) (exclusive, *claim)

func theMutex(l *locks) (exclusive, *claim) { return &l.mutex, &l.mutual }

func theWriter(l *locks) (exclusive, *claim) { return &l.rw, &l.writing }

// briefly is a context that has an end and no timer: the thread under the tracer is alone.
type briefly struct {
	context.Context
	end time.Time
}

func brief() context.Context { return briefly{context.Background(), time.Now().Add(time.Millisecond)} }

func (b briefly) Deadline() (time.Time, bool) { return b.end, true }

func (b briefly) Err() error {
	if time.Now().Before(b.end) {
		return nil
	}
	return context.DeadlineExceeded
}

// makesLocks makes the locks, by the host.
func makesLocks(p *party) (err error) {
	if p.locks, err = alloc.New[locks](p.cache); err != nil {
		return err
	}
	p.ledger.slots[locksSlot].block = unsafe.Pointer(p.locks)
	p.locks.register = registerBefore
	return errors.Join(p.locks.permits.Init(permits), p.locks.barrier.Init(2), alloc.StoreRoot(p.alloc, locksName, p.locks))
}

func findsLocks(p *party) (err error) {
	p.locks, err = alloc.LoadRoot[locks](p.alloc, locksName)
	return err
}

// withLocks makes a step of what is done with the locks.
func withLocks(do func(p *party, l *locks) error) step {
	return func(p *party) error { return do(p, p.locks) }
}

// takes takes a lock, or gets want of it.
func takes(w which, want error) step {
	return withLocks(func(p *party, l *locks) error {
		x, c := w(l)
		c.stage.Store(asking)
		return c.entered(p, want, x.Lock(context.Background(), p.heap))
	})
}

func tries(want error) step {
	return withLocks(func(p *party, l *locks) error {
		l.mutual.stage.Store(asking)
		return l.mutual.entered(p, want, l.mutex.TryLock(p.heap))
	})
}

func waitsBriefly(w which) step {
	return withLocks(func(p *party, l *locks) error {
		x, c := w(l)
		c.stage.CompareAndSwap(untouched, asking)
		return x.Lock(brief(), p.heap)
	})
}

// entered makes sense of what a lock said.
func (c *claim) entered(p *party, want, err error) error {
	if !errors.Is(err, want) || want == nil && err != nil {
		return fmt.Errorf("lock: %v, want %v", err, want)
	}
	if err == nil || errors.Is(err, lock.ErrOwnerDied) {
		c.stage.Store(inside)
		c.holder = p.heap.Peer()
		if err != nil {
			c.unrepaired = 1
		}
	}
	return nil
}

// changes changes what a lock protects, and dies half way if asked to.
func changes(w which, half bool) step {
	return withLocks(func(_ *party, l *locks) error {
		_, c := w(l)
		c.begun++
		c.pair[0]++
		if half {
			return nil
		}
		c.stage.Store(inside) // a store that the compiler orders the others by
		c.pair[1]++
		c.done++
		return nil
	})
}

// repairs puts what a dead holder left in order.
func repairs(w which) step {
	return withLocks(func(p *party, l *locks) error {
		x, c := w(l)
		c.pair[1] = c.pair[0]
		c.done = c.pair[0]
		c.stage.Store(inside)
		c.unrepaired = 0
		return x.MarkConsistent(p.heap)
	})
}

// leaves gives a lock back, for good if it was not repaired.
func leaves(w which) step {
	return withLocks(func(p *party, l *locks) error {
		x, c := w(l)
		c.gaveUp = c.unrepaired
		c.holder = 0
		c.stage.Store(leaving)
		err := x.Unlock(p.heap)
		c.stage.Store(left)
		return err
	})
}

// diesWith is a victim that changes half of what a lock protects.
func diesWith(w which) step { return steps(findsLocks, takes(w, nil), changes(w, true)) }

// judge wants whoever survives to get the lock, told of the death if there was a holder, and all that
// was done with it to be there.
func (c *claim) judge(p *party, x exclusive) error {
	if c.holder != 0 {
		if alive, err := p.heap.Alive(c.holder); alive || err != nil {
			return errors.Join(err, c.judgeHeld(p, x))
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), shmtest.Patience)
	defer cancel()
	stage, torn := c.stage.Load(), c.pair[0] != c.pair[1] || c.unrepaired != 0
	err := x.Lock(ctx, p.heap)
	if errors.Is(err, lock.ErrNotRecoverable) && c.gaveUp != 0 && stage >= leaving {
		return nil
	}
	if err != nil && !errors.Is(err, lock.ErrOwnerDied) {
		return fmt.Errorf("lock at stage %d: %w", stage, err)
	}
	if told, must := err != nil, stage == inside || torn; must && !told || told && !torn && (stage == untouched || stage == left) {
		return fmt.Errorf("lock at stage %d, torn %t: %v", stage, torn, err)
	}
	if n := c.pair[0]; n < c.done || n > c.begun {
		return fmt.Errorf("%d changes, of which %d were begun and %d done", n, c.begun, c.done)
	}
	if err != nil {
		c.pair[1], c.unrepaired = c.pair[0], 0
		err = x.MarkConsistent(p.heap)
	}
	for range 2 { // as if nothing had been
		err = errors.Join(err, x.Unlock(p.heap), x.Lock(ctx, p.heap))
	}
	return errors.Join(err, x.Unlock(p.heap))
}

// judgeHeld wants a lock that somebody alive has to be his.
func (c *claim) judgeHeld(p *party, x exclusive) error {
	if err := x.Lock(brief(), p.heap); !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("lock of somebody who lives: %v", err)
	}
	if c.holder == p.heap.Peer() {
		return x.Unlock(p.heap)
	}
	return nil
}

func reads(want error) step {
	return withLocks(func(p *party, l *locks) error {
		if err := l.rw.RLock(context.Background(), p.heap); !errors.Is(err, want) || want == nil && err != nil {
			return fmt.Errorf("read: %v, want %v", err, want)
		}
		return nil
	})
}

func readsBriefly(p *party) error { return p.locks.rw.RLock(brief(), p.heap) }

func readsNoMore(p *party) error { return p.locks.rw.RUnlock(p.heap) }

// waitsForSignal gives the mutex back in between.
func waitsForSignal(p *party) error {
	c := &p.locks.mutual
	c.holder = 0
	c.stage.Store(leaving)
	err := p.locks.cond.Wait(brief(), p.heap, &p.locks.mutex)
	c.holder = p.heap.Peer()
	c.stage.Store(inside)
	return err
}

func signals(p *party) error {
	p.locks.cond.Signal()
	p.locks.cond.Broadcast()
	return nil
}

func acquires(p *party) error { return p.locks.permits.Acquire(context.Background(), p.heap) }

func acquiresBriefly(p *party) error { return p.locks.permits.Acquire(brief(), p.heap) }

func triesToAcquire(p *party) error { return p.locks.permits.TryAcquire(p.heap) }

func releases(p *party) error { return p.locks.permits.Release(p.heap) }

// keepsPermit is the host's.
func keepsPermit(p *party) error {
	p.locks.kept++
	return acquires(p)
}

// judge wants as many permits as nobody alive has.
func (l *locks) judgePermits(p *party) error {
	n := permits - l.kept
	for range n {
		if err := l.permits.TryAcquire(p.heap); err != nil {
			return fmt.Errorf("one of %d permits: %w", n, err)
		}
	}
	if err := l.permits.TryAcquire(p.heap); !errors.Is(err, lock.ErrLocked) {
		return fmt.Errorf("a permit too many: %v", err)
	}
	for range n {
		if err := l.permits.Release(p.heap); err != nil {
			return err
		}
	}
	return nil
}

var errOnce = errors.New("did not work")

func doesOnce(p *party) error { return p.locks.do(p, func() error { return nil }) }

func failsOnce(p *party) error {
	err := p.locks.do(p, func() error {
		p.locks.runs += onceFails
		return errOnce
	})
	if errors.Is(err, errOnce) {
		return nil
	}
	return fmt.Errorf("once: %v, want what it failed with", err)
}

// diesInOnce is a victim.
func diesInOnce(p *party) error {
	return p.locks.do(p, func() error {
		sys.KillSelf()
		return nil
	})
}

func (l *locks) do(p *party, f func() error) error {
	err := l.once.Do(context.Background(), p.heap, func(again bool) error {
		if again != (l.runs != 0) {
			return fmt.Errorf("run number %d, told %t", l.runs+1, again)
		}
		l.runs++
		return f()
	})
	if err == nil {
		l.returned++
	}
	return err
}

// judgeOnce wants it to be done when somebody has come back from it, and to be done once more otherwise.
func (l *locks) judgeOnce(p *party) error {
	runs, returned, done := l.runs%onceFails, l.returned, l.once.Done()
	ran := false
	ctx, cancel := context.WithTimeout(context.Background(), shmtest.Patience)
	defer cancel()
	err := l.once.Do(ctx, p.heap, func(again bool) error {
		ran = true
		if runs != 0 && !again {
			return errors.New("not told that it was tried before")
		}
		return nil
	})
	if err != nil || ran == done || returned > 0 && !done || done && runs == 0 || !l.once.Done() {
		return fmt.Errorf("once was run %d times, came back %d times, done %t, run again %t: %w", runs, returned, done, ran, err)
	}
	return nil
}

func waitsForTheOther(p *party) error { return p.locks.barrier.Wait(context.Background(), p.heap) }

func waitsAlone(p *party) error { return p.locks.barrier.Wait(brief(), p.heap) }

// diesAtBarrier is a victim that has come to the barrier.
func diesAtBarrier(p *party) error {
	const arrivedAt = 24 // doc/format.md
	arrived := (*[lock.MaxParties]atomic.Uint64)(unsafe.Add(unsafe.Pointer(&p.locks.barrier), arrivedAt))
	failed := make(chan error, 1)
	go func() { failed <- p.locks.barrier.Wait(context.Background(), p.heap) }()
	for arrived[0].Load() == 0 {
		select {
		case err := <-failed:
			return fmt.Errorf("nobody else is there: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// judgeBarrier wants two who come to go on, whatever the dead have left.
func (l *locks) judgeBarrier(p *party) error {
	ctx, cancel := context.WithTimeout(context.Background(), shmtest.Patience)
	defer cancel()
	const all = 4
	errs := make(chan error, all)
	for range all {
		go func() { errs <- l.barrier.Wait(ctx, p.heap) }()
	}
	for n := range all {
		err := <-errs
		switch {
		case n < all-1 && err != nil: // the last one may be alone, if one of the dead counted
			return fmt.Errorf("barrier: %w", err)
		case n == all-2:
			time.AfterFunc(20*time.Millisecond, cancel)
		case n == all-1 && err != nil && !errors.Is(err, context.Canceled):
			return fmt.Errorf("last at the barrier: %w", err)
		}
	}
	return nil
}

func (l *locks) guarded(p *party) (*lock.Guard[uint64], error) {
	off, _ := p.heap.Memory().Offset(unsafe.Pointer(&l.register))
	r, err := lock.RegisterAt[uint64](p.heap.Memory().Bytes(off, 8), 0)
	return lock.NewGuard(p.heap, &l.guard, r), err
}

// setsBit changes the register.
func setsBit(p *party) error {
	g, err := p.locks.guarded(p)
	if err == nil {
		_, err = g.SetBits(context.Background(), registerBit)
	}
	p.locks.set++
	return err
}

// diesWithGuard is a victim that has the register's lock.
func diesWithGuard(p *party) error { return p.locks.guard.Lock(context.Background(), p.heap) }

// judgeGuard wants the register to be changed or not, and to be changed again.
func (l *locks) judgeGuard(p *party) error {
	ctx, cancel := context.WithTimeout(context.Background(), shmtest.Patience)
	defer cancel()
	g, err := l.guarded(p)
	if err != nil {
		return err
	}
	set := l.set
	before, err := g.Toggle(ctx, 1)
	after := g.Read()
	if bit := before & registerBit; before&^registerBit != registerBefore || set > 0 && bit == 0 || after != before|1 || err != nil {
		return fmt.Errorf("register of %#x becomes %#x, changed %d times: %w", before, after, set, err)
	}
	_, err = g.Toggle(ctx, 1)
	return err
}

// settleLocks wants every lock of a scene that has locks to be of use.
func (p *party) settleLocks() error {
	if _, err := p.heap.LoadRoot(locksName); errors.Is(err, heap.ErrNoRoot) {
		return nil
	}
	if err := findsLocks(p); err != nil {
		return err
	}
	l := p.locks
	for name, check := range map[string]func(*party) error{
		"mutex":     func(p *party) error { return l.mutual.judge(p, &l.mutex) },
		"rw":        func(p *party) error { return l.writing.judge(p, &l.rw) },
		"semaphore": l.judgePermits, "once": l.judgeOnce, "barrier": l.judgeBarrier, "guard": l.judgeGuard,
	} {
		if err := check(p); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
