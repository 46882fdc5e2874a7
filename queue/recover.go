package queue

import (
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/crashpoint"
)

// Recovered is what Recover has found.
type Recovered struct {
	Hands   int // hands of dead processes
	Freed   int // blocks that they had made and not sent, now free
	Orphans int // blocks that they had received, to be delivered again
}

// Recover settles what the hands of dead processes were doing: what they had made and not sent is freed,
// what they had received is kept for the next hand that receives from the same queue, and what they had
// sent is the queue's. The living go on meanwhile. One process recovers at a time; when another one is
// at it, Recover returns heap.ErrBusy. It may be killed too: the next one begins again, and every step
// may be done twice.
func (h *Hands) Recover() (Recovered, error) {
	var done Recovered
	unlock, err := h.lock()
	if err != nil {
		return done, err
	}
	defer unlock()
	dead, err := h.dead()
	if err != nil || len(dead) == 0 {
		return done, err
	}
	if err := h.blocks.recover(); err != nil { // from here on Held of the dead is final
		return done, err
	}
	done.Hands = len(dead)
	var errs []error
	for _, id := range dead {
		errs = append(errs, h.settleDead(id), h.release(id, &done))
	}
	return done, errors.Join(errs...)
}

// lock makes this peer the recoverer. A recoverer that died is followed, one that is stopped is not.
func (h *Hands) lock() (unlock func(), err error) {
	if err := mayWrite(h.region); err != nil {
		return nil, fmt.Errorf("recover hands: %w", err)
	}
	own := handOwner(handTaken, h.region.Peer())
	old := h.head.Recoverer.Load()
	if old != 0 {
		alive, err := h.region.Alive(handlePeer(old))
		if err != nil {
			return nil, err
		}
		if alive {
			return nil, fmt.Errorf("recover hands: %w: peer %v is at it", heap.ErrBusy, handlePeer(old))
		}
	}
	if !h.head.Recoverer.CompareAndSwap(old, own) {
		return nil, fmt.Errorf("recover hands: %w", heap.ErrBusy)
	}
	crashpoint.Hit("queue.recover.after-lock")
	unlock = func() { h.head.Recoverer.StoreRelease(0) }
	if old != 0 {
		h.head.Orphans.Swap(1) // it may have died between clearing the hint and setting it again
		err = h.settleAdoptions()
	}
	if err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// settleAdoptions settles what a recoverer had under way when it died. Nobody may touch orphans before
// it is clear whose their blocks are. Only who has the lock adopts, so there is at most one.
func (h *Hands) settleAdoptions() error {
	dead, err := h.dead()
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range dead {
		if h.records[id].Intent.Load()&intentMask == intentAdopt {
			errs = append(errs, h.settleDead(id))
		}
	}
	return errors.Join(errs...)
}

// dead returns the hands whose process has died, in the order of their numbers.
func (h *Hands) dead() (dead []int, err error) {
	for id := 1; id < len(h.records); id++ {
		owner := h.records[id].Owner.Load()
		if owner&0xff != handTaken {
			continue
		}
		alive, err := h.region.Alive(handlePeer(owner))
		if err != nil {
			return nil, err
		}
		if !alive {
			dead = append(dead, id)
		}
	}
	return dead, nil
}

// settleDead does to a dead hand's record what the hand was about to do next.
func (h *Hands) settleDead(id int) error {
	r := &h.records[id]
	intent := r.Intent.Load()
	kind := intent & intentMask
	if kind == intentNone {
		return nil
	}
	keep, err := h.keeps(id, r, kind)
	if err == nil && !keep {
		r.Held.StoreRelease(0)
		crashpoint.Hit("queue.settle.after-held")
	}
	r.Intent.StoreRelease(intent &^ intentMask)
	crashpoint.Hit("queue.settle.after-intent")
	return err
}

// keeps reports whether Held is the hand's when its intent is settled. Nonsense in a record is an error,
// and then the block stays where it is.
func (h *Hands) keeps(id int, r *Record, kind uint64) (bool, error) {
	switch kind {
	case intentAdopt:
		orphan := h.record(int(r.Position.Load() & 0xff))
		return orphan != nil && orphan.Held.Load() != r.Held.Load(), nil
	case intentStore:
		off := r.Queue.Load()
		m := h.region.Memory()
		if off%8 != 0 || !m.Contains(off, 8) {
			return true, fmt.Errorf("hand %d: %w: word at %#x", id, ErrCorrupt, off)
		}
		return m.Word(off).Load() != r.Held.Load(), nil
	case intentPush, intentPop:
		q, err := view(h.region, r.Queue.Load())
		if err != nil {
			return true, fmt.Errorf("hand %d: %w", id, err)
		}
		return q.succeeded(id, r) == (kind == intentPop), nil
	}
	return true, fmt.Errorf("hand %d: %w: intent %#x", id, ErrCorrupt, r.Intent.Load())
}

// release gives a settled record back, with what it holds.
func (h *Hands) release(id int, done *Recovered) error {
	r := &h.records[id]
	switch {
	case r.Held.Load() == 0:
	case r.Origin.Load() != 0:
		done.Orphans++
		h.head.Orphans.Swap(1)
		crashpoint.Hit("queue.release.after-hint")
		r.Owner.StoreRelease(r.Owner.Load()&^0xff | handOrphan)
		return nil
	default:
		err := h.blocks.freeFrom(h.heldWord(id))
		if errors.Is(err, alloc.ErrClosed) {
			return err
		}
		if err != nil { // no block: let it go
			r.Held.StoreRelease(0)
			r.Owner.StoreRelease(0)
			return fmt.Errorf("hand %d: %w", id, err)
		}
		done.Freed++
		crashpoint.Hit("queue.release.after-free")
	}
	r.Owner.StoreRelease(0)
	return nil
}

// forget frees what waits to be delivered again from a queue that is going to be deleted. What the dead were doing in it is
// settled before, while it can be told. Then the orphans become what they were, hands of the dead, with blocks that seem
// made there. Killed between the two stores, the record becomes an orphan again.
func (h *Hands) forget(queue uint64) error {
	if _, err := h.Recover(); err != nil {
		return err
	}
	unlock, err := h.lock()
	if err != nil {
		return err
	}
	for id := 1; id < len(h.records); id++ {
		r := &h.records[id]
		if owner := r.Owner.Load(); owner&0xff == handOrphan && r.Origin.Load() == queue {
			r.Owner.StoreRelease(owner&^0xff | handTaken)
			r.Origin.StoreRelease(0)
		}
	}
	unlock()
	_, err = h.Recover()
	return err
}

// adopt takes a block that a dead hand had received from the queue, and reports whether there was one.
// The hand is empty. Somebody else who is recovering is not waited for: the orphan does not run away.
//
//	1 Intent = adopt, orphan's number      killed behind it, recovery sees that Held is 0, or
//	2 Held = the block                     that both have it: the orphan keeps it
//	3 orphan's Held = 0                    that the orphan's is another: the hand keeps it
//	4 Intent = none, orphan's record free
func (h *Hand) adopt(q *Queue) bool {
	t := h.hands
	unlock, err := t.lock()
	if err != nil {
		return false
	}
	defer unlock()
	t.head.Orphans.Swap(0)
	found := false
	for id := 1; id < len(t.records); id++ {
		switch orphan := &t.records[id]; {
		case orphan.Owner.Load()&0xff != handOrphan:
		case found || orphan.Origin.Load() != q.off && orphan.Held.Load() != 0:
			t.head.Orphans.Swap(1)
		default:
			found = h.takeFrom(q, id, orphan)
		}
	}
	return found
}

// takeFrom moves an orphan's block into the hand. The record of an orphan whose block has been taken is
// free, but for a taker that died before it said so.
func (h *Hand) takeFrom(q *Queue, id int, orphan *Record) bool {
	block := orphan.Held.Load()
	if block != 0 && block-h.address(q.first) >= q.span {
		q.head.Dropped.Add(1)
		orphan.Held.StoreRelease(0)
		block = 0
	}
	if block != 0 {
		h.record.Origin.StoreRelease(orphan.Origin.Load())
		h.announce(intentAdopt, 0, uint64(id))
		crashpoint.Hit("queue.adopt.after-intent")
		h.record.Held.StoreRelease(block)
		crashpoint.Hit("queue.adopt.after-held")
		orphan.Held.StoreRelease(0)
		crashpoint.Hit("queue.adopt.after-orphan")
		h.settle()
	}
	orphan.Owner.StoreRelease(0)
	return block != 0
}
