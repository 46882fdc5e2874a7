package lock

import (
	"context"
	"fmt"
	"structs"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/mem"
)

// MaxParties is how many a Barrier waits for at most.
const MaxParties = 61

// Barrier lets parties go on when all of them have come, again and again. See Init.
type Barrier struct {
	_ structs.HostLayout

	parties mem.Half
	_       mem.Half
	event   event
	round   mem.Word             // raised by whoever sees that all have come; its upper half, by who gives up
	arrived [MaxParties]mem.Word // a peer, and above it the low bits of the round it has come to
}

const (
	roundShift = 48
	roundMask  = 1<<16 - 1
)

// What a party that gives up adds to the word of the round. Who has seen all parties and is about to raise the round
// fails then and looks again: a party that is counted must not say that it has not come.
const givenUp = 1 << 32

func roundOf(w uint64) uint64 { return w & (givenUp - 1) }

// Init sets the number of parties, once, before others use the barrier. It returns ErrTooMany.
func (b *Barrier) Init(parties int) error {
	if parties < 1 || parties > MaxParties {
		return fmt.Errorf("%w: %d parties, at most %d", ErrTooMany, parties, MaxParties)
	}
	b.parties.Swap(uint32(parties))
	b.round.Swap(1) // a word of 0 has come to no round
	return nil
}

// Wait says that the caller has come and waits until all have. With ctx's error it has not come after
// all. A party that dies after it came counts; one that dies before keeps the others waiting until
// their contexts end. It returns ErrCorrupt before Init. Whoever sees that all have come opens the barrier, so it does not matter which of
// them dies when.
func (b *Barrier) Wait(ctx context.Context, p Peers) error {
	if _, err := writer(p); err != nil {
		return err
	}
	if len(b.table()) == 0 {
		return fmt.Errorf("%w: a barrier without parties", ErrCorrupt)
	}
	round, at := uint64(0), -1
	return b.event.await(ctx, p, func(attempt) (bool, error) {
		if at < 0 {
			if round, at = b.arrive(p); at < 0 {
				b.passed(round) // those who have come may all be dead
				return false, nil
			}
			crashpoint.Hit("lock.barrier.after-arrive")
		}
		return b.passed(round), nil
	}, func(err error) error {
		if at < 0 || b.leave(p, round, at) {
			return err
		}
		return nil // they went on just now
	})
}

// leave takes back that the caller has come, and reports false when the round is over all the same.
//
// Killed between the two stores, it may be counted by who saw it before the first: it died after it came.
func (b *Barrier) leave(p Peers, round uint64, at int) bool {
	if !b.arrived[at].CompareAndSwap(uint64(p.Peer())|round<<roundShift, 0) {
		return false
	}
	crashpoint.Hit("lock.barrier.after-leave")
	for {
		w := b.round.Load()
		if roundOf(w) != round {
			return false
		}
		if b.round.CompareAndSwap(w, w+givenUp) {
			return true
		}
	}
}

// arrive enters the caller for the current round. The bound is for peers that write nonsense.
func (b *Barrier) arrive(p Peers) (round uint64, at int) {
	for range MaxParties {
		round = roundOf(b.round.Load())
		if at = b.enter(p, round); at >= 0 || roundOf(b.round.Load()) == round {
			break
		}
	}
	return round, at
}

// enter puts the caller's word into the place of one of an earlier round. One of a later round stays: the caller was
// stopped since it has read the round. -1 says that all words are taken: the next round is about to begin, or has begun.
func (b *Barrier) enter(p Peers, round uint64) int {
	for i := range b.table() {
		w := b.arrived[i].Load()
		if w != 0 && (w>>roundShift-round)&roundMask <= roundMask/2 {
			continue
		}
		if b.arrived[i].CompareAndSwap(w, uint64(p.Peer())|round<<roundShift) {
			return i
		}
	}
	return -1
}

// passed reports whether the round is over, and ends it when all have come.
func (b *Barrier) passed(round uint64) bool {
	for {
		w := b.round.Load()
		if roundOf(w) != round {
			return true
		}
		if !b.allCome(round) {
			return false
		}
		if b.end(w) {
			return true
		}
	}
}

// allCome looks at the words of all parties, one after the other: end must not find that one of them has left since.
func (b *Barrier) allCome(round uint64) bool {
	for i := range b.table() {
		if w := b.arrived[i].Load(); w == 0 || w>>roundShift != round&roundMask {
			return false
		}
	}
	return true
}

// end raises the round, if its word is still w.
func (b *Barrier) end(w uint64) bool {
	if !b.round.CompareAndSwap(w, roundOf(roundOf(w)+1)) {
		return false
	}
	crashpoint.Hit("lock.barrier.after-round")
	b.event.wakeAlways(all)
	return true
}

func (b *Barrier) table() []mem.Word { return b.arrived[:min(b.parties.Load(), MaxParties)] }
