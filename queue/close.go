package queue

// Close lets nothing be pushed any more. Consumers pop what is left and then get ErrClosed; producers get
// it at once. It may be called any number of times, by any process that may write; for others it does nothing.
//
// A bit says that the queue is closed, and producers look at it before each attempt. One that was
// stopped between that look and its store could still push behind a consumer's back, so the free slots
// are filled with elements of value 0, which mean the end. Killed in between, the consumer that finds
// the queue empty does the rest. Where a single producer pushes with plain stores, an end that another
// process has put before it may be overwritten by the one element that it was about to push, or the lines of a batch that
// it was about to fill, up to 256 elements.
func (q *Queue) Close() {
	if mayWrite(q.region) != nil {
		return
	}
	q.head.State.Or(StateClosed)
	q.seal(q.seek(q.head.Tail.Load(), ProducerRole))
	q.head.Pops.ringAll()
	q.head.Pushes.ringAll()
}

// Closed reports whether Close has been called.
func (q *Queue) Closed() bool { return q.head.State.Load()&StateClosed != 0 }

// seal fills the free slots from c on with ends, and reports whether the position of c holds one.
func (q *Queue) seal(c cursor) bool {
	start := c
	for range 2 * len(q.slots) {
		s := &q.slots[c.index]
		w := s.Load()
		switch phaseOf(w, c) {
		case free:
			q.hands.settleForEnd(q, c, w)
			s.CompareAndSwap(w, c.lap|slotFull)
			continue
		case filled:
			c.step(len(q.slots))
		case passed:
			c.toLap(w)
			c.step(len(q.slots))
		default: // the lap before, still full: there is no free slot
			return q.isEnd(start)
		}
	}
	return q.isEnd(start)
}

func (q *Queue) isEnd(c cursor) bool {
	w := q.slots[c.index].Load()
	return phaseOf(w, c) == filled && w&valueMask == 0
}
