package lock

import (
	"context"
	"errors"
	"structs"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/mem"
)

// Mutex is a lock in shared memory that survives its holder. The zero value is free. It belongs to a
// process: any goroutine of the process that locked it may unlock it, and a second Lock by the same
// process waits like any other.
type Mutex struct {
	_ structs.HostLayout

	// word is 0, or the owner and the bits below. Changed by compare-and-swap by everybody.
	word  mem.Word
	event event
}

// Bits of a Mutex's word above the owner.
const (
	bitWaiting = 1 << 63 // somebody may be asleep: Unlock must wake
	bitTurn    = 1 << 62 // somebody has waited too long: only who has slept may take the lock
	bitDamaged = 1 << 61 // an owner has died, and nobody has said yet that all is well
	bitLost    = 1 << 60 // an owner gave the lock back damaged: it is of no use any more
)

// Lock takes the lock, waiting for it as long as ctx lets it. When the holder dies, the next one gets the
// lock with ErrOwnerDied and repairs what it protects, or gives it up: see MarkConsistent. It also
// returns ErrNotRecoverable and ctx's error, without the lock.
//
// Waiters spin for some microseconds and then sleep. Newcomers may be quicker than who has just been
// woken, but not for more than about a millisecond: then those who sleep come first. A process that is
// stopped with the lock keeps it.
func (m *Mutex) Lock(ctx context.Context, p Peers) error {
	own, err := writer(p)
	if err != nil {
		return err
	}
	if m.word.CompareAndSwap(0, own) {
		crashpoint.Hit("lock.mutex.after-lock")
		return nil
	}
	return m.lockSlow(ctx, p)
}

// TryLock takes the lock if it is free, and else returns ErrLocked. A holder that died is noticed. The
// other errors are Lock's.
func (m *Mutex) TryLock(p Peers) error {
	own, err := writer(p)
	if err != nil || m.word.CompareAndSwap(0, own) {
		return err
	}
	done, err := m.try(p, attempt{slept: true, overdue: true})
	if err == nil && !done {
		return ErrLocked
	}
	return err
}

func (m *Mutex) lockSlow(ctx context.Context, p Peers) error {
	return m.event.await(ctx, p, func(a attempt) (bool, error) {
		for {
			done, err := m.try(p, a)
			if done || err != nil || !a.sleepy || m.wantWake(a.overdue) {
				return done, err
			}
		}
	}, nil)
}

// try takes the lock if it is free, and that of a dead owner if it is time to ask.
//
// Killed behind the compare-and-swap, the lock has an owner that is dead.
func (m *Mutex) try(p Peers, a attempt) (bool, error) {
	w := m.word.Load()
	switch {
	case w&bitLost != 0:
		return false, ErrNotRecoverable
	case w&peerMask == 0:
		return m.takeFree(p, w, a.slept)
	case !a.overdue:
		return false, nil
	}
	gone, err := dead(p, w)
	if err != nil || !gone {
		return false, err
	}
	if !m.word.CompareAndSwap(w, w&^peerMask|uint64(p.Peer())|bitDamaged) {
		return false, nil
	}
	crashpoint.Hit("lock.mutex.after-inherit")
	return true, ErrOwnerDied
}

// takeFree takes a lock that nobody has.
func (m *Mutex) takeFree(p Peers, w uint64, slept bool) (bool, error) {
	if w&bitTurn != 0 && !slept {
		return false, nil
	}
	next := w&^bitTurn | uint64(p.Peer())
	if slept {
		next |= bitWaiting // others may be asleep beside this one
	}
	if !m.word.CompareAndSwap(w, next) {
		return false, nil
	}
	crashpoint.Hit("lock.mutex.after-take")
	if w&bitDamaged != 0 {
		return true, ErrOwnerDied
	}
	return true, nil
}

// wantWake tells the owner that somebody sleeps, and one that has slept in vain that it wants its turn.
// It reports false when there is no owner any more.
func (m *Mutex) wantWake(overdue bool) bool {
	bits := uint64(bitWaiting)
	if overdue {
		bits |= bitTurn
	}
	for {
		w := m.word.Load()
		if w&peerMask == 0 {
			return w&bitTurn != 0 // somebody who has slept is about to take it
		}
		if w&bits == bits || m.word.CompareAndSwap(w, w|bits) {
			crashpoint.Hit("lock.mutex.after-want")
			return true
		}
	}
}

// Unlock gives the lock back. It returns ErrNotOwner when this process does not hold it. After
// ErrOwnerDied and without MarkConsistent nobody gets the lock again: Lock returns ErrNotRecoverable.
//
// Killed behind the store, the lock is free and a sleeper may go unwoken for as long as it sleeps at most,
// half a second.
func (m *Mutex) Unlock(p Peers) error {
	own, err := writer(p)
	if err != nil || m.word.CompareAndSwap(own, 0) {
		return err
	}
	return m.unlockSlow(own)
}

func (m *Mutex) unlockSlow(own uint64) error {
	for {
		w := m.word.Load()
		if w&peerMask != own {
			return ErrNotOwner
		}
		next := w & bitTurn
		if w&bitDamaged != 0 {
			next = bitLost
		}
		if !m.word.CompareAndSwap(w, next) {
			continue
		}
		crashpoint.Hit("lock.mutex.after-unlock")
		switch {
		case next == bitLost:
			m.event.wakeAlways(all)
		case w&bitWaiting != 0:
			m.event.wakeAlways(1)
		}
		return nil
	}
}

// MarkConsistent says that what the lock protects is in order again after ErrOwnerDied. It returns
// ErrNotOwner when this process does not hold the lock.
func (m *Mutex) MarkConsistent(p Peers) error {
	own, err := writer(p)
	if err != nil {
		return err
	}
	for {
		w := m.word.Load()
		if w&peerMask != own {
			return ErrNotOwner
		}
		if w&bitDamaged == 0 || m.word.CompareAndSwap(w, w&^bitDamaged) {
			crashpoint.Hit("lock.mutex.after-mark")
			return nil
		}
	}
}

// abandon gives a lock that was got with ErrOwnerDied back unrepaired, for the next one to repair.
func (m *Mutex) abandon(p Peers) {
	for {
		w := m.word.Load()
		if w&peerMask != uint64(p.Peer()) || m.word.CompareAndSwap(w, w&^peerMask) {
			break
		}
	}
	m.event.wakeAlways(all)
}

// isOwnerDied reports whether err is about nothing but a dead owner.
func isOwnerDied(err error) bool { return errors.Is(err, ErrOwnerDied) }
