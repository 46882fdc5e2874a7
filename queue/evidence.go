package queue

// seen is what a producer remembers of other hands' positions, so that it looks at their records only
// now and then: all pushes, or pops, of the hand before the position are settled. As positions come
// round again, what is known counts for the age in which it was learnt only.
type seen struct {
	age    uint32
	steps  uint64 // since the age began
	learnt [2][MaxHands + 1]uint32
	below  [2][MaxHands + 1]uint64
}

// step counts positions that the producer has moved. A new age begins long before they come round.
func (s *seen) step(n, mask uint64) {
	if s.steps += n; s.steps > mask/4 {
		s.forget()
	}
}

// forget is for a producer that was overtaken, it cannot tell how often.
func (s *seen) forget() {
	s.age++
	s.steps = 0
}

// settleBoth sees to it that the hands which a free slot names do not need it any more. The producer is
// about to fill it for a new lap.
func (h *Hands) settleBoth(p *Producer, w uint64) {
	if h == nil {
		return
	}
	at := p.q.lapBefore(p.at)
	h.settleOne(p, pusher(w), intentPush, at)
	h.settleOne(p, popper(w), intentPop, at)
}

// settleForEnd is settleBoth for who is about to put the end of the queue into the slot, and remembers nothing.
func (h *Hands) settleForEnd(q *Queue, c cursor, w uint64) {
	at := q.lapBefore(c)
	if r := h.record(pusher(w)); r != nil {
		r.judge(q.off, intentPush, at)
	}
	if r := h.record(popper(w)); r != nil {
		r.judge(q.off, intentPop, at)
	}
}

// lapBefore returns the position of the cursor's slot in the lap before.
func (q *Queue) lapBefore(c cursor) uint64 {
	return (q.position(c) - uint64(len(q.slots))) & q.positionMask()
}

func (h *Hands) settleOne(p *Producer, id int, kind, position uint64) {
	r := h.record(id)
	if r == nil || p.hand != nil && p.hand.id == id {
		return // nobody's, or the producer's own: it is not in the middle of anything
	}
	learnt, below := &p.seen.learnt[kind-1][id], &p.seen.below[kind-1][id]
	mask := p.q.positionMask()
	if *learnt == p.seen.age && (*below-position-1)&mask <= mask/2 {
		return
	}
	if last, ok := r.judge(p.q.off, kind, position); ok {
		*learnt, *below = p.seen.age, last&mask
	}
}

// judge stores the record's intent as its verdict if it is the one that a slot answers. It returns a
// position before which all that the hand did in the queue is settled, if the record tells.
//
// A hand changes its record before its slot, and a slot that names it has been read: so the record is
// not older than the intent in question. If it is another now, that one has been settled. The record may be
// between two intents, with the position of the next one: so nothing is said of that position itself. The
// queue is the position's if it is the same before and after, and the intent too: see Hand.announce.
func (r *Record) judge(queue, kind, position uint64) (before uint64, ok bool) {
	intent, q := r.Intent.Load(), r.Queue.Load()
	at := r.Position.Load()
	if q != queue || r.Queue.Load() != queue || r.Intent.Load() != intent || at>>positionKindShift != kind {
		return 0, false
	}
	before = at &^ (0xf << positionKindShift)
	if intent&intentMask == kind && before == position {
		r.decide(intent)
		return 0, false
	}
	return before, true
}

// decide stores a verdict, unless there is one on a later intent: who was stopped since it has read the intent comes
// late, when another one may need its verdict to stay. An attempt fails when somebody else was quicker, which each of
// those who are late is once; the bound is for peers that write nonsense.
func (r *Record) decide(intent uint64) {
	for range 2 * MaxHandles {
		before := r.Verdict.Load()
		if int64(intent-before) <= 0 || r.Verdict.CompareAndSwap(before, intent) {
			return
		}
	}
}

// succeeded reports whether the push or pop that a dead hand's record announces has happened. q is the
// record's queue. The slot is looked at before the verdict, which is stored before the slot changes.
func (q *Queue) succeeded(id int, r *Record) bool {
	intent, position := r.Intent.Load(), r.Position.Load()&^(0xf<<positionKindShift)
	c := q.cursorAt(position & q.positionMask())
	w := q.slots[c.index].Load()
	if r.Verdict.Load() == intent {
		return true
	}
	switch p := phaseOf(w, c); {
	case intent&intentMask == intentPop:
		return p == passed && w&slotFull == 0 && lapDifference(w, c) == 1 && popper(w) == id
	case p == filled:
		return pusher(w) == id
	default:
		return p == passed && w&slotFull == 0 && lapDifference(w, c) == 1 && pusher(w) == id
	}
}
