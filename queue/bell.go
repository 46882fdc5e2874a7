package queue

import (
	"time"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/sys"
)

// ring wakes one sleeper if there may be one. The caller has changed the queue with a full barrier in
// between, so that either it sees Need here or the sleeper sees the change.
//
// Killed behind the Swap, nobody is woken: no sleep is longer than longestSleep for that reason.
func (b *Bell) ring() {
	if b.Need.Load() != 0 && b.Need.Swap(0) != 0 {
		crashpoint.Hit("queue.ring.after-need")
		b.pass()
	}
}

// pass wakes one sleeper.
func (b *Bell) pass() {
	b.Seq.Add(1)
	_, _ = sys.Wake(&b.Seq, 1) // it fails for words that are not mapped only, and these are
}

// ringAll wakes all sleepers.
func (b *Bell) ringAll() {
	b.Seq.Add(1)
	_, _ = sys.Wake(&b.Seq, 1<<30)
}

// listen announces a sleeper. Whatever it looks at afterwards is not older than what a waker that has
// not seen the announcement has changed.
func (b *Bell) listen() (seq uint32) {
	seq = b.Seq.Load()
	b.Need.Swap(1)
	return seq
}

// sleep sleeps until the bell rings, or for d.
func (b *Bell) sleep(seq uint32, d time.Duration) error { return sys.Wait(&b.Seq, seq, d) }
