package heap

import (
	"fmt"

	"github.com/shmheap/shmheap/internal/layout"
)

// LimitError says that a heap may not have the storage that was wanted. It is ErrLimit, and ErrNoSpace
// for those to whom the reason is all the same.
type LimitError struct {
	Limit     uint64 // bytes that may have storage
	Committed uint64 // bytes that have
	Want      uint64 // bytes that were to have it too
}

// Error implements error.
func (e *LimitError) Error() string {
	return fmt.Sprintf("%v: %d bytes may have storage, %d have, and %d more are wanted", ErrLimit, e.Limit, e.Committed, e.Want)
}

// Unwrap returns what errors.Is finds.
func (e *LimitError) Unwrap() []error { return []error{ErrLimit, ErrNoSpace} }

// Limit returns how many bytes of the region may have storage, 0 when there is no limit or the heap is closed.
func (h *Heap) Limit() uint64 {
	if h.enter() != nil {
		return 0
	}
	defer h.leave()
	return h.super.Limit.Load()
}

// SetLimit sets how many bytes of the region may have storage at once, tables included, for all processes
// from their next Commit on; 0 takes the limit away. Less than there is takes nothing away: nothing more is
// committed until enough was given back. It returns ErrClosed.
//
// The truth is the committed bitmap, so no count can drift when processes are killed. Whoever commits data
// sets its bits, counts all bits, and clears its own again when there are too many: of several processes that
// reach the limit at the same instant none ends up beyond it, though all may be refused. Killed between, a
// process leaves free granules that are beyond the limit, until they are used or trimmed. Tables are counted like
// data and refused beforehand, but once committed they stay, as others may have begun to use them: several
// processes that commit different tables at the same instant may exceed the limit by those, 64 KiB to
// 256 KiB each.
func (h *Heap) SetLimit(bytes uint64) error {
	if err := h.enterToWrite(); err != nil {
		return err
	}
	defer h.leave()
	h.super.Limit.Swap(bytes)
	return nil
}

// withinLimit returns a LimitError when n more granules are too many. The granules in front of end count, and
// those in front of the frontier.
func (h *Heap) withinLimit(n, end uint64) error {
	limit := h.super.Limit.Load()
	if limit == 0 {
		return nil
	}
	committed := committedBytes(h.committed[:h.countedWords(end)])
	if want := n << layout.GranuleShift; committed+want > limit {
		return &LimitError{Limit: limit, Committed: committed, Want: want}
	}
	return nil
}

// countedWords is how many words of the bitmap can have bits: an allocator has committed nothing beyond its
// frontier.
func (h *Heap) countedWords(end uint64) uint64 {
	frontier := h.super.Frontier.Load()
	if frontier == 0 || frontier > h.geometry.Granules() {
		return uint64(len(h.committed))
	}
	return (max(frontier, end, h.geometry.FirstGranule()) + 63) / 64
}

// keepWithinLimit takes back what was just committed when others have committed too much meanwhile.
func (h *Heap) keepWithinLimit(first, end uint64) error {
	err := h.withinLimit(0, end)
	if err == nil || first < h.geometry.FirstGranule() {
		return nil
	}
	if undo := h.decommit(first, end); undo != nil {
		return undo
	}
	e := err.(*LimitError)
	e.Want = (end - first) << layout.GranuleShift
	e.Committed -= min(e.Want, e.Committed)
	return e
}
