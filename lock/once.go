package lock

import (
	"context"
	"structs"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/mem"
)

// Once does something once for all processes. The zero value has not done it.
type Once struct {
	_ structs.HostLayout

	word  mem.Word // 0; the owner that is at it; onceDone
	event event
}

const onceDone = 1 << 63

// Do calls f if nobody has yet, and otherwise waits until whoever is at it is done. again tells f that
// one who was at it died or failed: it may find things half done. An error of f's is returned, and then it
// has not been done. Do also returns ctx's error. Killed in f, or with an f that panics, the next one does it.
func (o *Once) Do(ctx context.Context, p Peers, f func(again bool) error) error {
	if o.word.Load() == onceDone {
		return nil
	}
	if _, err := writer(p); err != nil {
		return err
	}
	run, again := false, false
	err := o.event.await(ctx, p, func(a attempt) (done bool, err error) {
		done, run, again, err = o.try(p, a.overdue)
		return done, err
	}, nil)
	if err != nil || !run {
		return err
	}
	crashpoint.Hit("lock.once.after-take")
	next := uint64(onceFailed)
	defer func() { o.end(next) }()
	if err = f(again); err == nil {
		next = onceDone
	}
	return err
}

// end says that nobody is at it any more.
func (o *Once) end(next uint64) {
	o.word.Swap(next)
	crashpoint.Hit("lock.once.after-done")
	o.event.wakeAlways(all)
}

// onceFailed is a word without an owner that says that it has been tried.
const onceFailed = 1 << 62

// try reports whether the caller is done waiting, and whether it has to run f.
func (o *Once) try(p Peers, ask bool) (done, run, again bool, err error) {
	w := o.word.Load()
	if w == onceDone {
		return true, false, false, nil
	}
	if w&peerMask != 0 {
		gone, err := recoverable(p, w, ask)
		if err != nil || !gone {
			return false, false, false, err
		}
	}
	run = o.word.CompareAndSwap(w, uint64(p.Peer()))
	return run, run, w != 0, nil
}

// Done reports whether it has been done.
func (o *Once) Done() bool { return o.word.Load() == onceDone }
