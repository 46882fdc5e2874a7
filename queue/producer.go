package queue

import (
	"fmt"
	"os"

	"github.com/shmheap/shmheap/internal/mem"
)

// Producer is one producer's handle on a queue. One goroutine may use it at a time. What it keeps to
// itself is where it is in the queue; a producer that dies leaves nothing half done.
type Producer struct {
	q      *Queue
	slots  []mem.Word
	state  *mem.Word
	at     cursor
	first  uint64
	span   uint64
	single bool // nobody else pushes: stores will do
	by     uint64
	hand   *Hand // whose elements these are, nil for nobody
	handle handle
	seen   *seen
	waiter waiter
	notify *os.File // see Watch, nil for nothing
}

// Producer returns a handle to push with. It returns ErrTaken when a live process has the only one that
// an SPSC queue has, ErrTooMany, and ErrClosed.
func (q *Queue) Producer() (*Producer, error) {
	if q.head.State.Load()&StateClosed != 0 {
		return nil, ErrClosed
	}
	single := q.kind == SPSC
	h, err := q.attach(ProducerRole, single)
	if err != nil {
		return nil, fmt.Errorf("producer: %w", err)
	}
	p := &Producer{
		q: q, slots: q.slots, state: &q.head.State, at: q.seek(q.head.Tail.Load(), ProducerRole),
		first: q.first, span: q.span, single: single, handle: h, seen: &seen{age: 1},
	}
	p.waiter = newWaiter(q, ProducerRole, p.hasRoom)
	return p, nil
}

// TryPush appends an element: the offset of something in the heap, a multiple of 8. It returns ErrFull,
// ErrClosed, or ErrOffset for a number that is no such offset. Killed at any point, the producer has
// pushed or has not. Elements of one producer are popped in the order in which it pushed them.
func (p *Producer) TryPush(offset uint64) error {
	if offset%Unit == 0 && offset-p.first < p.span && p.state.Load() == 0 && p.hand == nil {
		s, w := &p.slots[p.at.index], p.at.lap|slotFull|offset/Unit
		if p.single && s.Load() == p.at.lap {
			s.Publish(w)
			p.advance()
			return nil
		}
		if !p.single && s.CompareAndSwap(p.at.lap, w) {
			p.advance()
			if p.state.Load() != 0 {
				p.wake()
			}
			return nil
		}
	}
	return p.push(offset)
}

// hasRoom reports whether the slot at the producer's place is not the lap before's any more.
func (p *Producer) hasRoom() bool {
	return phaseOf(p.slots[p.at.index].Load(), p.at) != lagging
}

// advance goes to the next position and, once a line, tells where it is.
func (p *Producer) advance() {
	p.at.step(len(p.slots))
	if p.at.index%8 == 0 {
		p.seen.step(8, p.q.positionMask())
		p.q.raise(&p.q.head.Tail, p.at)
	}
}

// raise stores a hint. Two that do it at once may lower it again, which costs somebody a few steps.
func (q *Queue) raise(hint *mem.Word, c cursor) {
	at := q.position(c)
	if (at-hint.Load())&q.positionMask() <= q.positionMask()/2 {
		hint.Publish(at)
	}
}

// push is TryPush without haste: for laggards, for evidence, for sleepers to wake, and for errors.
func (p *Producer) push(offset uint64) error {
	if p.q == nil {
		return ErrDetached
	}
	if offset%Unit != 0 || offset-p.first >= p.span {
		return fmt.Errorf("push %#x: %w", offset, ErrOffset)
	}
	w := slotFull | p.by | offset/Unit
	for probes := 0; probes < 2*len(p.slots)+16; probes++ {
		if p.state.Load()&StateClosed != 0 {
			return ErrClosed
		}
		s := &p.slots[p.at.index]
		seen := s.Load()
		switch phaseOf(seen, p.at) {
		case free:
			if p.fill(s, seen, w|p.at.lap) {
				p.advance()
				p.wake()
				return nil
			}
		case lagging:
			return ErrFull
		case behind: // a hint was wrong
			p.seen.forget()
			p.at = p.q.fromStart()
		default:
			p.skip(seen)
		}
	}
	return ErrFull
}

// skip steps behind a position that somebody else has filled.
func (p *Producer) skip(seen uint64) {
	before := p.at
	if p.at.toLap(seen); p.at != before {
		p.seen.forget()
	}
	p.at.step(len(p.slots))
	p.at = p.q.catchUp(p.at, p.q.head.Tail.Load(), ProducerRole)
	p.seen.step((p.q.position(p.at)-p.q.position(before))&p.q.positionMask(), p.q.positionMask())
}

// fill stores a full word into a free slot, and reports false when somebody else was quicker. What the
// slot says about others' last pushes and pops is overwritten only when they have no more need of it.
func (p *Producer) fill(s *mem.Word, seen, w uint64) bool {
	if seen != p.at.lap {
		p.q.hands.settleBoth(p, seen)
	}
	if p.hand != nil {
		return p.hand.fill(p, s, seen, w)
	}
	return p.store(s, seen, w)
}

// store is the one store that publishes. Where consumers sleep it is a full barrier too: wake looks at
// the bell after it, and a consumer at the queue after it has set the bell's Need.
func (p *Producer) store(s *mem.Word, seen, w uint64) bool {
	switch {
	case !p.single:
		return s.CompareAndSwap(seen, w)
	case p.state.Load()&StatePopSleep != 0:
		s.Swap(w)
	default:
		s.Publish(w)
	}
	return true
}

// wake wakes a sleeping consumer, if there may be one.
func (p *Producer) wake() {
	if p.state.Load()&StatePopSleep != 0 {
		p.q.head.Pops.ring()
		p.tell()
	}
}

// TryPushAll pushes elements until one cannot be, and returns how many it has pushed and why it stopped:
// nil when all of them were. It is cheaper than one TryPush for each. They are published one by one and
// in their order.
func (p *Producer) TryPushAll(offsets []uint64) (int, error) {
	n := 0
	if p.single && p.hand == nil && p.q != nil && p.state.Load()&^StatePushSleep == 0 {
		n = p.pushRun(offsets)
	}
	for ; n < len(offsets); n++ {
		if err := p.TryPush(offsets[n]); err != nil {
			return n, err
		}
	}
	return n, nil
}

// pushRun pushes what it can without a look at anything but the slots.
func (p *Producer) pushRun(offsets []uint64) int {
	at, slots, before := p.at, p.slots, p.at.index
	n := 0
	for _, offset := range offsets {
		s := &slots[at.index]
		if s.Load() != at.lap || offset%Unit != 0 || offset-p.first >= p.span {
			break
		}
		s.Publish(at.lap | slotFull | offset/Unit)
		at.step(len(slots))
		n++
	}
	p.at = at
	if before/8 != at.index/8 {
		p.seen.step(uint64(n)+8, p.q.positionMask())
		p.q.raise(&p.q.head.Tail, at)
	}
	return n
}

// Close gives the handle back. The queue goes on. It returns ErrDetached when that has been done.
func (p *Producer) Close() error {
	if p.q == nil {
		return ErrDetached
	}
	p.q.raise(&p.q.head.Tail, p.at)
	p.q.detach(p.handle)
	p.slots, p.q, p.span = nil, nil, 0
	if p.notify != nil {
		return p.notify.Close()
	}
	return nil
}
