package queue

// A cursor is a position, kept as what the hot path needs: which slot, and the empty word of the lap.
// Positions count modulo 4096 laps; what is ahead of what is told from the difference.
type cursor struct {
	index uint64
	lap   uint64 // emptyOf(lap)
}

// step moves to the next position.
func (c *cursor) step(slots int) {
	c.index++
	c.wrap(slots)
}

// wrap goes to the next lap at the end of the slots.
func (c *cursor) wrap(slots int) {
	if c.index == uint64(slots) {
		c.index, c.lap = 0, (c.lap+lapUnit)&^slotFull
	}
}

// lineSlots is the number of slots in 64 bytes. Whatever need not be done for each element is done once in
// so many.
const lineSlots = 8

// lineMask is what an index is 0 under at the beginning of a line; a queue may be shorter than that.
func lineMask(slots int) uint64 { return uint64(min(lineSlots, slots)) - 1 }

// next returns the empty word of the next lap: what a popped slot becomes.
func (c *cursor) next() uint64 { return (c.lap + lapUnit) &^ slotFull }

func (q *Queue) positionMask() uint64 { return (lapMask+1)<<q.order - 1 }

func (q *Queue) position(c cursor) uint64 { return lapOf(c.lap)<<q.order | c.index }

func (q *Queue) cursorAt(position uint64) cursor {
	return cursor{index: position & (1<<q.order - 1), lap: emptyOf(position >> q.order)}
}

// lapDifference is how many laps w is ahead of the cursor: negative when it is behind.
func lapDifference(w uint64, c cursor) int {
	d := int((lapOf(w) - lapOf(c.lap)) & lapMask)
	if d > lapMask/2 {
		d -= lapMask + 1
	}
	return d
}

// phase is what a slot says of the cursor's position.
type phase int

const (
	behind  phase = iota // its last lap has not come yet: the cursor is ahead of the truth
	lagging              // it holds the element of the lap before
	free                 // it is free for the position
	filled               // it holds the position's element
	passed               // the position's element has been popped
)

func phaseOf(w uint64, c cursor) phase {
	switch d, full := lapDifference(w, c), w&slotFull != 0; {
	case d == 0 && full:
		return filled
	case d == 0:
		return free
	case d == -1 && full:
		return lagging
	case d > 0:
		return passed
	}
	return behind
}

// toLap moves the cursor to the lap whose element w holds, or held last: all earlier positions of the
// slot have been filled.
func (c *cursor) toLap(w uint64) {
	c.lap = w & (lapMask << lapShift)
	if w&slotFull == 0 {
		c.lap = (c.lap - lapUnit) & (lapMask << lapShift)
	}
}

// seek returns a cursor from which a producer or consumer finds its place by stepping forward. A hint
// that the slots do not bear out is not followed; then the place is found from the first slot, whose
// last popped position is no later than the head.
func (q *Queue) seek(hint uint64, role Role) cursor {
	if c := q.cursorAt(hint & q.positionMask()); q.plausible(c, role) {
		return c
	}
	return q.fromStart()
}

// plausible reports whether the role has been at all positions before c, which shows in the last of
// them, and not long ago.
func (q *Queue) plausible(c cursor, role Role) bool {
	before := q.cursorAt((q.position(c) - 1) & q.positionMask())
	w := q.slots[before.index].Load()
	p := phaseOf(w, before)
	return lapDifference(w, before) <= 1 && (p == passed || p == filled && role == ProducerRole)
}

func (q *Queue) fromStart() cursor {
	w := q.slots[0].Load()
	c := cursor{lap: emptyOf(lapOf(w) - 1)}
	c.step(len(q.slots))
	return c
}

// catchUp returns the place that a hint leads to, for who has fallen behind, or c itself.
func (q *Queue) catchUp(c cursor, hint uint64, role Role) cursor {
	if d := (hint - q.position(c)) & q.positionMask(); d > 0 && d <= uint64(len(q.slots)) {
		if h := q.cursorAt(hint & q.positionMask()); q.plausible(h, role) {
			return h
		}
	}
	return c
}
