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
	at := (p.q.position(p.at) - uint64(len(p.slots))) & p.q.positionMask() // the lap before
	h.settleOne(p, pusher(w), intentPush, at)
	h.settleOne(p, popper(w), intentPop, at)
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

// judge stores the record's intent as its verdict if it is the one that a slot answers. It returns the
// position up to which the hand is known to be past, if the record tells.
//
// A hand changes its record before its slot, and a slot that names it has been read: so the record is
// not older than the intent in question. If it is another now, that one has been settled.
func (r *Record) judge(queue, kind, position uint64) (last uint64, ok bool) {
	intent := r.Intent.Load()
	at, q := r.Position.Load(), r.Queue.Load()
	if r.Intent.Load() != intent || q != queue || at>>positionKindShift != kind {
		return 0, false
	}
	last = at &^ (0xf << positionKindShift)
	if intent&intentMask != kind {
		return last + 1, true // settled, the last one included
	}
	if last == position {
		r.Verdict.StoreRelease(intent)
		return 0, false
	}
	return last, true
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
