package demo

import (
	"fmt"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

// takeHand makes one of the index's hands this worker's, for ever.
func (w *worker) takeHand() error {
	for i := range w.hands {
		if h := &w.hands[i]; h.Owner.CompareAndSwap(nobody, uint64(w.self.id)) {
			w.hand = h
			return nil
		}
	}
	return fmt.Errorf("all %d hands of the index are taken", len(w.hands))
}

// settle sees to it that nothing is left in the hand of a dead peer. It
// returns false while another live peer is at it.
func (w *worker) settle(dead heap.PeerID) (bool, error) {
	h := w.handOf(dead)
	if h == nil {
		return true, nil
	}
	seen := h.Settler.Load()
	if seen == finished {
		return true, nil
	}
	if seen != nobody {
		alive, err := w.self.alive(heap.PeerID(seen))
		if err != nil || alive {
			return false, err
		}
	}
	// From here until the store of finished the hand is ours. Killed in
	// between, we are the dead settler that somebody else finds above.
	if !h.Settler.CompareAndSwap(seen, uint64(w.self.id)) {
		return false, nil
	}
	if err := w.empty(h); err != nil {
		return false, fmt.Errorf("settle the hand of peer %v: %w", dead, err)
	}
	w.tally.Hands++
	h.Settler.Store(finished)
	return true, nil
}

// handOf returns the hand that a peer has taken, or nil.
func (w *worker) handOf(id heap.PeerID) *Hand {
	for i := range w.hands {
		if w.hands[i].Owner.Load() == uint64(id) {
			return &w.hands[i]
		}
	}
	return nil
}

// empty settles both fields of a hand whose owner is dead, and whose earlier
// settlers are.
func (w *worker) empty(h *Hand) error {
	// The allocator first: what a dead cache was in the middle of is then
	// either done, with the block in the field, or undone, with the field nil.
	if err := w.recover(); err != nil {
		return err
	}
	if err := w.settlePosting(h); err != nil {
		return err
	}
	return w.settleWord(h)
}

// recover returns to the allocator what dead peers held.
func (w *worker) recover() error {
	r, err := w.self.recover()
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	w.tally.Recovered.add(r)
	return nil
}

// settlePosting empties h.Posting: a posting in its word's list stays there,
// any other is freed. One without a word was not linked.
func (w *worker) settlePosting(h *Hand) error {
	p := h.Posting
	if p == nil {
		return nil
	}
	if p.Word != nil {
		linked, err := w.posting(p.Word, func(q *Posting) bool { return q == p })
		if err != nil {
			return err
		}
		if linked != nil {
			w.tally.Kept++
			h.Posting = nil
			return nil
		}
	}
	w.tally.Freed++
	return alloc.DeleteFrom(w.cache, &h.Posting)
}

// settleWord empties h.Word in the same way. One that is not filled in is in
// no list either.
func (w *worker) settleWord(h *Hand) error {
	if h.Word == nil {
		return nil
	}
	linked, err := w.holds(h.Word)
	if err != nil {
		return err
	}
	if linked {
		w.tally.Kept++
		h.Word = nil
		return nil
	}
	w.tally.Freed++
	return w.dropWord(h)
}

// dropWord frees the word in h, which is not linked: the text first, as the
// word is what leads to it. Killed in between, the word is still in h.
func (w *worker) dropWord(h *Hand) error {
	if err := h.Word.Text.Free(w.cache); err != nil {
		return fmt.Errorf("free the text of a word: %w", err)
	}
	return alloc.DeleteFrom(w.cache, &h.Word)
}
