package queue

import (
	"fmt"

	"github.com/shmheap/shmheap/internal/mem"
)

// Consumer is one consumer's handle on a queue. One goroutine may use it at a time.
type Consumer struct {
	q      *Queue
	slots  []mem.Word
	state  *mem.Word
	at     cursor
	first  uint64
	span   uint64
	line   uint64
	single bool  // nobody else pops: stores will do
	hand   *Hand // who pops, nil for nobody in particular
	handle handle
	tie    tie
	idle   cursor // where the queue was empty last
	waiter waiter

	stretch uint64 // what a batch waits for when the queue is empty, 0 for nothing
	ready   uint64 // slots from here on that are likely to be full
}

// Consumer returns a handle to pop with. It returns ErrTaken when a live process has the only one that an
// SPSC or MPSC queue has, and ErrTooMany.
func (q *Queue) Consumer() (*Consumer, error) {
	single := q.kind != MPMC
	h, err := q.attach(ConsumerRole, single)
	if err != nil {
		return nil, fmt.Errorf("consumer: %w", err)
	}
	c := &Consumer{
		q: q, slots: q.slots, state: &q.head.State, at: q.seek(q.head.Head.Load(), ConsumerRole),
		first: q.first, span: q.span, single: single, handle: h, line: lineMask(len(q.slots)),
	}
	if single {
		c.stretch = stretchOf(len(q.slots))
	}
	c.waiter = newWaiter(q, ConsumerRole, c.hasMore)
	if c.tie, err = newTie(q.region, c.detach); err != nil {
		return nil, err
	}
	return c, nil
}

// TryPop takes the first element. It returns ErrEmpty, ErrClosed when the queue is closed and empty, and
// ErrCorrupt for an element that is no offset into the heap: it is dropped, and the next call goes on
// behind it. Killed at any point, the consumer has popped or has not; what it has popped is lost with
// it, unless it popped with a Hand.
func (c *Consumer) TryPop() (uint64, error) {
	if c.single && c.state.Load()&StatePushSleep == 0 && c.hand == nil {
		s := &c.slots[c.at.index]
		w := s.Load()
		if offset := w & valueMask * Unit; w&^valueMask == c.at.lap|slotFull && offset-c.first < c.span {
			s.Publish(c.at.next())
			if c.at.index++; c.at.index&c.line == 0 {
				c.endLine(lineSlots)
			}
			return offset, nil
		}
	}
	return c.pop()
}

// hasMore reports whether there is something, ahead of the consumer's place or at it.
func (c *Consumer) hasMore() bool {
	return phaseOf(c.slots[c.at.index].Load(), c.at) != free
}

func (c *Consumer) advance() {
	if c.at.index++; c.at.index&c.line == 0 {
		c.endLine(lineSlots)
	}
}

// endLine does what is done once in a line, or in n slots: it goes on to the next lap, and tells where the
// consumer is.
func (c *Consumer) endLine(n uint64) {
	c.at.wrap(len(c.slots))
	c.q.raise(&c.q.head.Head, c.at)
	c.fetchOn(n)
}

// pop is TryPop without haste.
func (c *Consumer) pop() (uint64, error) {
	if c.q == nil {
		return 0, ErrDetached
	}
	patient := c.run() >= 2
	for probes := 0; probes < 2*len(c.slots)+16; probes++ {
		s := &c.slots[c.at.index]
		seen := s.Load()
		switch phaseOf(seen, c.at) {
		case filled:
			if seen&valueMask == 0 {
				return 0, ErrClosed
			}
			if c.empty(s, seen) {
				return c.taken(seen & valueMask * Unit)
			}
		case free:
			if !patient {
				return 0, c.nothing()
			}
			patient = false
			c.rest()
		case passed:
			c.skip(seen)
		default: // a hint was wrong
			c.at = c.q.fromStart()
		}
	}
	return 0, ErrEmpty
}

// run is how many elements came since the queue was empty last.
func (c *Consumer) run() uint64 {
	return (c.q.position(c.at) - c.q.position(c.idle)) & c.q.positionMask()
}

// rest lets a producer that is filling a line finish it: who looks at the line all the time takes it
// away from the producer all the time. It begins a new run, so that one element at a time, which is what
// comes after a question, is not rested for.
func (c *Consumer) rest() {
	c.idle = c.at
	mem.Pause(restPauses)
}

// restPauses is about half a microsecond.
const restPauses = 32

// nothing tells why there is no element. Whoever finds a closed queue empty sees to it that nothing can be
// pushed any more before it says so.
func (c *Consumer) nothing() error {
	c.idle = c.at
	if c.state.Load()&StateClosed == 0 {
		return ErrEmpty
	}
	if c.q.seal(c.at) {
		return ErrClosed
	}
	return ErrEmpty
}

// skip steps behind a position that somebody else has popped.
func (c *Consumer) skip(seen uint64) {
	c.at.toLap(seen)
	if seen&slotFull != 0 { // the element of a later lap: the one before it has been popped
		c.at.lap = (c.at.lap - lapUnit) & (lapMask << lapShift)
	}
	c.at.step(len(c.slots))
	c.at = c.q.catchUp(c.at, c.q.head.Head.Load(), ConsumerRole)
}

// empty stores the empty word of the next lap into a filled slot, and reports false when somebody else
// was quicker.
func (c *Consumer) empty(s *mem.Word, seen uint64) bool {
	w := c.at.next() | seen&byMask
	if c.hand != nil {
		return c.hand.empty(c, s, seen, w)
	}
	return c.store(s, seen, w)
}

// store is the one store that pops, a full barrier where producers sleep: see Producer.store.
func (c *Consumer) store(s *mem.Word, seen, w uint64) bool {
	switch {
	case !c.single:
		return s.CompareAndSwap(seen, w)
	case c.state.Load()&StatePushSleep != 0:
		s.Swap(w)
	default:
		s.Publish(w)
	}
	return true
}

// taken finishes a pop: what a hostile producer pushed goes to nobody.
func (c *Consumer) taken(offset uint64) (uint64, error) {
	c.advance()
	if c.state.Load()&StatePushSleep != 0 {
		c.q.head.Pushes.ring()
	}
	if offset-c.first >= c.span {
		c.q.head.Dropped.Add(1)
		return 0, fmt.Errorf("pop: %w: element %#x", ErrCorrupt, offset)
	}
	return offset, nil
}

// TryPopAll pops elements into offsets until that is full or the queue is empty, and returns how many.
// With none it returns TryPop's error. It is cheaper than one TryPop for each. In the middle of a stream it
// may give the producer some microseconds before it takes less than it could.
func (c *Consumer) TryPopAll(offsets []uint64) (int, error) {
	n := 0
	if c.single && c.hand == nil && c.state.Load()&StatePushSleep == 0 {
		n = c.popRun(offsets)
	}
	if n > 0 {
		return n, nil
	}
	for ; n < len(offsets); n++ {
		offset, err := c.TryPop()
		if err != nil && n > 0 {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		offsets[n] = offset
	}
	return n, nil
}

// popRun pops what it can without a look at anything but the slots, whole lines at once where it can. When
// elements stream in and there is less than a line of them, it gives the producer the time to finish one.
func (c *Consumer) popRun(offsets []uint64) int {
	n := 0
	if c.ready == 0 && c.stretch > 0 && len(offsets) >= batchAhead {
		c.lookAhead(true)
	}
	patient := c.run() >= 2
	for n < len(offsets) {
		if c.at.index&(lineSlots-1) == 0 && len(offsets)-n >= lineSlots {
			if k := c.popLines(offsets[n:]); k > 0 {
				n += k
				continue
			}
			if n == 0 && patient {
				patient = false
				c.rest()
				continue
			}
		}
		w := c.slots[c.at.index].Load()
		offset := w & valueMask * Unit
		if w&^valueMask != c.at.lap|slotFull || offset-c.first >= c.span {
			break
		}
		c.slots[c.at.index].Publish(c.at.next())
		offsets[n] = offset
		c.advance()
		n++
	}
	return n
}

// popLines empties lines that are full, from the beginning of one on, and returns how many elements they had.
func (c *Consumer) popLines(offsets []uint64) int {
	slots := c.slots[c.at.index:]
	most := min(len(slots), lineLimit*lineSlots)
	n := lineSlots * takeLines(slots[:most], offsets, c.at.lap|slotFull, c.at.next(), c.first, c.span-1)
	if n > 0 {
		c.at.index += uint64(n)
		c.endLine(uint64(n))
	}
	return n
}

// Close gives the handle back. It returns ErrDetached when that has been done.
func (c *Consumer) Close() error { return c.tie.close(c.detach) }

func (c *Consumer) detach() error {
	if c.q == nil {
		return ErrDetached
	}
	c.q.raise(&c.q.head.Head, c.at)
	c.q.detach(c.handle)
	c.slots, c.q, c.single = nil, nil, false // so that nothing looks at the state
	return nil
}
