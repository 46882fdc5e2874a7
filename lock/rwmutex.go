package lock

import (
	"context"
	"structs"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/mem"
)

// MaxReaders is how many readers an RWMutex has at once at most.
const MaxReaders = 62

// RWMutex is a lock that many readers or one writer hold. The zero value is free. Writers come before
// new readers. Readers are entries of a table, so that one that dies is noticed and forgotten by the
// next writer.
type RWMutex struct {
	_ structs.HostLayout

	writer  Mutex
	readers [MaxReaders]mem.Word // owners, each one hold; a reader writes its own
}

// RLock takes the lock for reading. When a writer died with the lock, it returns ErrOwnerDied and does
// not take it: the next writer repairs. It also returns ErrNotRecoverable, and ctx's error; with
// MaxReaders live readers it waits.
//
// A reader enters itself and then looks for a writer, a writer does it the other way round, and both do
// so with full barriers: one of them sees the other. A writer may have come, died, and been followed by one
// that gave up, since the reader looked for the first time: so it looks for all of that.
func (rw *RWMutex) RLock(ctx context.Context, p Peers) error {
	own, err := writer(p)
	if err != nil {
		return err
	}
	return rw.writer.event.await(ctx, p, func(a attempt) (bool, error) {
		if busy, err := rw.written(p, a.overdue); busy || err != nil {
			return false, err
		}
		at, err := holders(rw.readers[:]).take(p, own, a.overdue)
		if err != nil || at < 0 {
			return false, err
		}
		crashpoint.Hit("lock.rw.after-enter")
		if rw.writer.word.Load()&(peerMask|bitDamaged|bitLost) == 0 {
			return true, nil
		}
		rw.readers[at].CompareAndSwap(own, 0)
		rw.writer.event.wake(all)
		return false, nil
	}, nil)
}

// written reports whether a writer has the lock, or ErrOwnerDied when it is dead.
func (rw *RWMutex) written(p Peers, ask bool) (bool, error) {
	w := rw.writer.word.Load()
	switch {
	case w&bitLost != 0:
		return true, ErrNotRecoverable
	case w&peerMask == 0 && w&bitDamaged != 0:
		return true, ErrOwnerDied
	case w&peerMask == 0:
		return false, nil
	case !ask:
		return true, nil
	}
	gone, err := dead(p, w)
	if err == nil && gone {
		err = ErrOwnerDied
	}
	return true, err
}

// RUnlock gives one hold of this process back. It returns ErrNotOwner when it has none.
func (rw *RWMutex) RUnlock(p Peers) error {
	own, err := writer(p)
	if err != nil {
		return err
	}
	if !holders(rw.readers[:]).drop(own) {
		return ErrNotOwner
	}
	rw.writer.event.wake(all)
	return nil
}

// Lock takes the lock for writing. The errors are those of Mutex.Lock; a reader that died is no reason
// for ErrOwnerDied, as it has changed nothing.
func (rw *RWMutex) Lock(ctx context.Context, p Peers) error {
	err := rw.writer.Lock(ctx, p)
	if err != nil && !isOwnerDied(err) {
		return err
	}
	if e := rw.drain(ctx, p); e != nil {
		return e
	}
	return err
}

// drain waits until no reader is left, or gives the lock back.
func (rw *RWMutex) drain(ctx context.Context, p Peers) error {
	at := 0
	return rw.writer.event.await(ctx, p, func(a attempt) (bool, error) {
		for ; at < len(rw.readers); at++ {
			w := rw.readers[at].Load()
			if w == 0 {
				continue
			}
			gone, err := recoverable(p, w, a.overdue)
			if err != nil || !gone {
				return false, err
			}
			rw.readers[at].CompareAndSwap(w, 0)
			crashpoint.Hit("lock.rw.after-forget")
		}
		return true, nil
	}, func(err error) error {
		rw.writer.abandon(p)
		return err
	})
}

// Unlock gives the lock back: see Mutex.Unlock.
func (rw *RWMutex) Unlock(p Peers) error {
	err := rw.writer.Unlock(p)
	if err == nil {
		rw.writer.event.wake(all)
	}
	return err
}

// MarkConsistent is Mutex.MarkConsistent.
func (rw *RWMutex) MarkConsistent(p Peers) error { return rw.writer.MarkConsistent(p) }
