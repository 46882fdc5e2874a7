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
	single bool   // nobody else pushes: stores will do
	full   cursor // where the queue was full last
	room   int    // slots from here on that are known to be free: of a single producer
	line   uint64
	by     uint64
	hand   *Hand // whose elements these are, nil for nobody
	handle handle
	tie    tie
	seen   *seen
	waiter waiter
	notify *os.File // see Watch, nil for nothing

	stretch uint64 // what it waits for when the queue is full, 0 for nothing
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
		first: q.first, span: q.span, single: single, handle: h, seen: &seen{age: 1}, line: lineMask(len(q.slots)),
	}
	if single && q.hands == nil {
		p.stretch = stretchOf(len(q.slots))
	}
	p.waiter = newWaiter(q, ProducerRole, p.hasRoom)
	if p.tie, err = newTie(q.region, p.detach); err != nil {
		return nil, err
	}
	return p, nil
}

// TryPush appends an element: the offset of something in the heap, a multiple of 8. It returns ErrFull,
// ErrClosed, or ErrOffset for a number that is no such offset. Killed at any point, the producer has
// pushed or has not. Elements of one producer are popped in the order in which it pushed them. In the middle
// of a stream it may give the consumer some microseconds before it finds the queue full.
func (p *Producer) TryPush(offset uint64) error {
	if offset%Unit == 0 && offset-p.first < p.span && p.state.Load() == 0 {
		s, w := &p.slots[p.at.index], p.at.lap|slotFull|offset/Unit
		if p.room > 0 {
			s.Publish(w)
			p.room--
			if p.at.index++; p.at.index&p.line == 0 {
				p.endLine(lineSlots)
			}
			return nil
		}
		if !p.single && p.hand == nil && s.CompareAndSwap(p.at.lap, w) {
			if p.at.index++; p.at.index&p.line == 0 {
				p.endLine(lineSlots)
			}
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

// advance goes to the next position.
func (p *Producer) advance() {
	if p.at.index++; p.at.index&p.line == 0 {
		p.endLine(lineSlots)
	}
}

// endLine does what is done once in a line, or in n slots: it goes on to the next lap, and tells where the
// producer is.
func (p *Producer) endLine(n uint64) {
	p.at.wrap(len(p.slots))
	p.seen.step(n, p.q.positionMask())
	p.q.raise(&p.q.head.Tail, p.at)
	p.fetchOn(n)
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
	if p.state.Load() == 0 {
		if p.lookAhead(); p.room > 0 {
			return p.TryPush(offset)
		}
	}
	p.room = 0
	w := slotFull | p.by | offset/Unit
	patient := p.run() >= 2
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
			if !patient {
				p.full = p.at
				return ErrFull
			}
			patient = false
			p.rest()
		case behind: // a hint was wrong
			p.seen.forget()
			p.at = p.q.fromStart()
		default:
			p.skip(seen)
		}
	}
	return ErrFull
}

// run is how many positions have been filled since the queue was full last.
func (p *Producer) run() uint64 {
	return (p.q.position(p.at) - p.q.position(p.full)) & p.q.positionMask()
}

// rest lets the consumer get ahead: see Consumer.rest.
func (p *Producer) rest() {
	p.full = p.at
	mem.Pause(restPauses)
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
// nil when all of them were. It is much cheaper than one TryPush for each. They are published in their order,
// and may be popped while later ones are still being pushed; killed in the middle, the producer has pushed the
// first of them.
func (p *Producer) TryPushAll(offsets []uint64) (int, error) {
	n := 0
	if p.single && p.hand == nil && p.q != nil {
		n = p.pushRun(offsets)
	}
	for ; n < len(offsets); n++ {
		if err := p.TryPush(offsets[n]); err != nil {
			return n, err
		}
	}
	return n, nil
}

// pushRun pushes what it can without a look at anything but the slots, and once in a few lines at the state: whether the
// queue is open and nobody sleeps who would have to be woken.
func (p *Producer) pushRun(offsets []uint64) int {
	n := 0
	for n < len(offsets) && p.state.Load()&^StatePushSleep == 0 {
		if p.room == 0 {
			p.lookAhead()
		}
		k := p.pushFree(offsets[n:])
		if k == 0 {
			break
		}
		n += k
	}
	return n
}

// pushFree fills slots that are known to be free, if what it would fill them with are offsets: whole lines at
// once where it can.
func (p *Producer) pushFree(batch []uint64) int {
	slots := p.slots[p.at.index:]
	slots = slots[:min(len(batch), len(slots), p.room, lineLimit*lineSlots)]
	n := 0
	if p.at.index&(lineSlots-1) == 0 {
		n = lineSlots * fillLines(slots, batch, p.at.lap|slotFull, p.first, p.span-1)
	}
	if n == 0 {
		n = p.pushSome(slots[:min(len(slots), lineSlots-int(p.at.index&(lineSlots-1)))], batch)
	}
	if n > 0 {
		p.room -= n
		p.at.index += uint64(n)
		p.endLine(uint64(n))
	}
	return n
}

// pushSome fills free slots, which are no whole line, until something is no offset.
func (p *Producer) pushSome(slots []mem.Word, batch []uint64) int {
	lap := p.at.lap | slotFull
	for i := range slots {
		offset := batch[i]
		if offset%Unit != 0 || offset-p.first >= p.span {
			return i
		}
		slots[i].Publish(lap | offset/Unit)
	}
	return len(slots)
}

// Close gives the handle back. The queue goes on. It returns ErrDetached when that has been done.
func (p *Producer) Close() error { return p.tie.close(p.detach) }

func (p *Producer) detach() error {
	if p.q == nil {
		return ErrDetached
	}
	p.q.raise(&p.q.head.Tail, p.at)
	p.q.detach(p.handle)
	p.tell()
	p.slots, p.q, p.span, p.room = nil, nil, 0, 0
	if p.notify != nil {
		return p.notify.Close()
	}
	return nil
}
