package queue

import (
	"fmt"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/mem"
)

// Hand moves blocks, one at a time, so that each is at every instant in the hand, in a queue, or free,
// whatever the process dies of. One goroutine may use it at a time; a process may have several.
//
//	Make --> in the hand --Send--> in the queue --Receive--> in a hand --Free--> free
//	              ^                                            |
//	              +--------------------------------------------+ Send
//
// When a process dies, Hands.Recover frees what its hands had made and not sent, and what they had
// received is delivered again, to the next hand that receives from the same queue.
type Hand struct {
	hands  *Hands
	blocks blocks
	id     int
	record *Record
	intent uint64 // the last number
	closed bool
	tie    tie
}

// The hand's record is written in an order that tells, after a kill at any point, where the block is:
//
//	push: the block is in Held                pop: Held is 0
//	  1 Queue, Position, 2 Intent               1 Queue, Position, 2 Intent
//	  3 CAS of the slot: it names this hand     3 Held = the element
//	  4 Held = 0                                4 CAS of the slot: it names this hand
//	  5 Intent = none                           5 Intent = none
//
// Recovery asks whether the CAS happened. The slot of the position tells: it is full, or empty of the
// next lap, and names the hand that pushed or popped it there. The names stay until the slot is filled
// again, a lap later. Who fills it looks at the records of the hands that it names, and if one of them
// still has the intent that the slot answers, stores it as that record's Verdict first. So: Verdict is
// the intent, or the slot names the hand at that lap, or the CAS did not happen.
//
// A slot counts 4096 laps. A process that is stopped between 2 and 3 while exactly a multiple of 4096
// laps goes by, and is killed within a few instructions after it goes on, would leave a wrong answer.

// announce says which slot the hand is going to change. While Queue changes there is no position, for others' sake:
// see Record.judge.
func (h *Hand) announce(kind, queue, position uint64) {
	r := h.record
	h.intent += intentStep
	if r.Queue.Peek() != queue {
		r.Position.StoreRelease(0)
		r.Queue.StoreRelease(queue)
	}
	r.Position.StoreRelease(position | kind<<positionKindShift)
	r.Intent.StoreRelease(h.intent | kind)
}

func (h *Hand) settle() { h.record.Intent.StoreRelease(h.intent) }

// fill is Producer.store for a hand.
func (h *Hand) fill(p *Producer, s *mem.Word, seen, w uint64) bool {
	h.announce(intentPush, p.q.off, p.q.position(p.at))
	crashpoint.Hit("queue.push.after-intent")
	done := s.CompareAndSwap(seen, w)
	crashpoint.Hit("queue.push.after-store")
	if done {
		h.record.Held.StoreRelease(0)
		crashpoint.Hit("queue.push.after-held")
	}
	h.settle()
	return done
}

// empty is Consumer.store for a hand.
func (h *Hand) empty(c *Consumer, s *mem.Word, seen, w uint64) bool {
	h.announce(intentPop, c.q.off, c.q.position(c.at))
	crashpoint.Hit("queue.pop.after-intent")
	h.record.Origin.StoreRelease(c.q.off)
	h.record.Held.StoreRelease(h.address(seen & valueMask * Unit))
	crashpoint.Hit("queue.pop.after-held")
	done := s.CompareAndSwap(seen, w|uint64(h.id))
	crashpoint.Hit("queue.pop.after-store")
	if !done {
		h.record.Held.StoreRelease(0)
	}
	h.settle()
	crashpoint.Hit("queue.pop.after-settle")
	return done
}

func (h *Hand) address(off uint64) uint64 { return uint64(h.hands.region.Memory().Base()) + off }

// Held returns the offset of the block in the hand, 0 for none and when the hand is closed.
func (h *Hand) Held() uint64 {
	if h.closed { // the record may be another one's
		return 0
	}
	if at := h.record.Held.Peek(); at != 0 {
		return at - h.address(0)
	}
	return 0
}

// Make allocates a zeroed block of at least size bytes into the hand. It returns its offset, ErrHolds
// when there is a block in the hand already, ErrDetached, or alloc.Alloc's errors.
func (h *Hand) Make(size uint64) (uint64, error) {
	switch {
	case h.closed:
		return 0, ErrDetached
	case h.record.Held.Peek() != 0:
		return 0, ErrHolds
	}
	h.record.Origin.StoreRelease(0)
	if err := h.blocks.allocInto(h.heldWord(), size); err != nil {
		return 0, fmt.Errorf("make: %w", err)
	}
	return h.Held(), nil
}

// Free frees the block in the hand. It returns ErrHoldsNone, ErrDetached, or alloc.FreeFrom's errors.
func (h *Hand) Free() error {
	switch {
	case h.closed:
		return ErrDetached
	case h.record.Held.Peek() == 0:
		return ErrHoldsNone
	}
	if err := h.blocks.freeFrom(h.heldWord()); err != nil {
		return fmt.Errorf("free: %w", err)
	}
	return nil
}

// Put stores the address of the block in the hand into the word at that offset, which must be 0, lie in
// the heap and be the caller's own as long as Put takes, and leaves the hand empty: so a block goes from
// a queue into a structure. Killed at any point, the block is the word's or the hand's. It returns
// ErrHoldsNone, ErrDetached, ErrOffset, and alloc.ErrOccupied.
func (h *Hand) Put(word uint64) error {
	m := h.hands.region.Memory()
	switch {
	case h.closed:
		return ErrDetached
	case h.record.Held.Peek() == 0:
		return ErrHoldsNone
	case word%8 != 0 || word < h.hands.region.Geometry().Sections.Data || !m.Contains(word, 8):
		return fmt.Errorf("put at %#x: %w", word, ErrOffset)
	}
	h.announce(intentStore, word, 0)
	crashpoint.Hit("queue.put.after-intent")
	done := m.Word(word).CompareAndSwap(0, h.record.Held.Peek())
	crashpoint.Hit("queue.put.after-store")
	if done {
		h.record.Held.StoreRelease(0)
	}
	h.settle()
	if !done {
		return fmt.Errorf("put at %#x: %w", word, alloc.ErrOccupied)
	}
	return nil
}

// heldWord is the offset of the record's Held.
func (h *Hand) heldWord() uint64 { return h.hands.heldWord(h.id) }

func (h *Hands) heldWord(id int) uint64 {
	off, _ := mem.OffsetOf(h.region.Memory(), &h.records[id].Held)
	return off
}

// Close gives the hand back. It returns ErrHolds when there is a block in it, and ErrDetached when it is
// closed.
func (h *Hand) Close() error {
	if h.Held() != 0 {
		return ErrHolds
	}
	return h.tie.close(h.detach)
}

// detach leaves a hand that holds something to recovery.
func (h *Hand) detach() error {
	if h.closed {
		return ErrDetached
	}
	h.closed = true
	if h.record.Held.Peek() == 0 {
		h.record.Owner.StoreRelease(0)
	}
	return nil
}
