package sys

import (
	"errors"
	"time"

	"github.com/shmheap/shmheap/internal/mem"
)

// Waiting on a word that processes share, behind one contract:
//
//	Wait(w, value, d)   sleeps while *w is value: until a Wake of the word, or for d; it may also return
//	                    for no reason. ErrTimeout says that d has passed. A d below zero has no end.
//	Wake(w, n)          wakes up to n sleepers and returns how many, or that it cannot tell.
//
// The word is compared after the sleeper is in the kernel's queue, so a Wake between the caller's look
// at the word and its sleep is not lost as long as the waker changes the word first. WaitMethod says
// what the system does it with; where it is WaitPoll, nobody is woken and Wait looks again at
// intervals that grow to a millisecond.

// ErrTimeout is returned by Wait when its time has passed.
var ErrTimeout = errors.New("timed out")

// What WaitMethod may be.
const (
	WaitFutex = "futex"  // Linux, shared: keyed by the file and the offset
	WaitUlock = "ulock"  // macOS, shared
	WaitPoll  = "polled" // anything else
)

// CannotTell is what Wake returns where the system does not say how many it woke.
const CannotTell = -1

// longestNap is how late poll may notice that the word has changed.
const longestNap = time.Millisecond

// poll is Wait where the system cannot wait for the word.
func poll(w *mem.Half, value uint32, d time.Duration) error {
	begin := time.Now()
	for nap := 20 * time.Microsecond; w.Load() == value; nap = min(2*nap, longestNap) {
		if d >= 0 {
			left := d - time.Since(begin)
			if left <= 0 {
				return ErrTimeout
			}
			nap = min(nap, left)
		}
		time.Sleep(nap)
	}
	return nil
}
