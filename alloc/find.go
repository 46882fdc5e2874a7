package alloc

import (
	mathbits "math/bits"

	"github.com/shmheap/shmheap/internal/layout"
)

// findRun returns where the first run in [from, end) begins that the busy bitmap says is free.
func (a *Allocator) findRun(from, end uint64, want fit) (uint64, bool) {
	for {
		head, ok := a.findFree(from, end, want.n)
		if !ok {
			return 0, false
		}
		if from = a.alignUp(head, want.align); from == head {
			return head, true
		}
	}
}

// findFree is findRun for a run of n granules that may begin anywhere, a word of the bitmap at a time: it begins in
// front of the word, with the free granules that the words there end with, or inside.
func (a *Allocator) findFree(from, end, n uint64) (uint64, bool) {
	before := uint64(0)
	for word, bits := range layout.BitRange(from, end) {
		free := bits &^ a.busy[word].Load()
		first := uint64(mathbits.TrailingZeros64(^free))
		if before+first >= n {
			return word*64 - before, true
		}
		if first == 64 {
			before += 64
			continue
		}
		if begins := beginsOf(free, n); begins != 0 {
			return word*64 + uint64(mathbits.TrailingZeros64(begins)), true
		}
		before = uint64(mathbits.LeadingZeros64(^free))
	}
	return 0, false
}

// exactWithin is how many granules findExact looks at.
const exactWithin = 4096

// findExact returns where, from the begin of a run of free granules on, the first run begins that is as long as wanted
// and no longer. To take that, and not the first that is long enough, leaves long runs whole: large blocks
// that come and go need up to a tenth less storage. A single granule is to be the first, see moveSpanHint.
func (a *Allocator) findExact(from, end uint64, want fit) (uint64, bool) {
	n, before := want.n, uint64(0)
	if n == 1 || n >= 64 || want.align != 1 {
		return 0, false
	}
	end = min(end, from+exactWithin)
	for word, bits := range layout.BitRange(from, end) {
		free := bits &^ a.busy[word].Load()
		first := uint64(mathbits.TrailingZeros64(^free))
		if first == 64 {
			before += 64
			continue
		}
		if before+first == n {
			return word*64 - before, true
		}
		before = uint64(mathbits.LeadingZeros64(^free))
		inside := free &^ (1<<first - 1) << before >> before
		if begins := beginsOf(inside, n) &^ (inside << 1) &^ (inside >> n); begins != 0 {
			return word*64 + uint64(mathbits.TrailingZeros64(begins)), true
		}
	}
	return end - before, before == n
}

// beginsOf returns the bits at which n ones begin: of the steps, which may be taken in any order, the last one makes
// pairs, and each other one puts two of what the next ones make behind each other, or over each other by one.
func beginsOf(ones, n uint64) uint64 {
	if n > 64 {
		return 0
	}
	for n > 1 {
		half := n / 2
		ones &= ones >> half
		n -= half
	}
	return ones
}

// alignUp returns the first granule from g on whose address is a multiple of align granules.
func (a *Allocator) alignUp(g, align uint64) uint64 {
	return (g+a.origin+align-1)&^(align-1) - a.origin
}

func (a *Allocator) isAligned(g, align uint64) bool { return a.alignUp(g, align) == g }

func (a *Allocator) isBusy(g uint64) bool { return a.busy[g/64].Load()>>(g%64)&1 != 0 }

// freedRuns has, of each length, the begins of the runs that a cache freed last, latest first. They are hints: whoever comes
// first takes the run. The next block of that length needs no search then, and its words are in the cache's processor.
type freedRuns [17][4]uint32

func (r *freedRuns) note(head, n uint64) {
	if n < uint64(len(r)) {
		of := &r[n]
		of[3], of[2], of[1], of[0] = of[2], of[1], of[0], uint32(head)
	}
}

func (r *freedRuns) last(n uint64) uint64 {
	if n >= uint64(len(r)) {
		return 0
	}
	of := &r[n]
	head := of[0]
	of[0], of[1], of[2], of[3] = of[1], of[2], of[3], 0
	return uint64(head)
}

// claimRecent claims a run that the cache has freed, if it is still free, has its storage and is no part of a longer one.
func (c *Cache) claimRecent(want fit) (uint64, bool) {
	a, n := c.a, want.n
	if want.align != 1 {
		return 0, false
	}
	for {
		head := c.recent.last(n)
		if head == 0 {
			return 0, false
		}
		if !a.isBusy(head) && a.hasStorage(head) && a.isEdge(head-1) && a.isEdge(head+n) && c.tryClaim(head, n) == n {
			return head, true
		}
	}
}

// isEdge reports whether a run of free granules ends at g.
func (a *Allocator) isEdge(g uint64) bool { return g < a.first || g >= a.frontier() || a.isBusy(g) }

// moveSpanHint notes that there is nothing free in front of a granule that was just claimed. Only a search for a single
// granule proves that. What is freed meanwhile does not lower a hint that is lower still; so the one who has
// raised it looks again: either he sees that it is free, or who freed it sees the new hint.
func (a *Allocator) moveSpanHint(hint, head uint64, want fit) {
	if want != granules(1) || !a.super.SpanHint.CompareAndSwap(hint, nextSpanHint(hint, head+1)) {
		return
	}
	if g, free := a.findFree(max(uint64(uint32(hint)), a.first), head, 1); free {
		a.lowerSpanHint(g)
	}
}

// lowerSpanHint makes searches begin at g or lower. Where they do already it writes nothing, so that the line stays
// with everybody.
func (a *Allocator) lowerSpanHint(g uint64) {
	for range 100 {
		hint := a.super.SpanHint.Load()
		if g >= uint64(uint32(hint)) || a.super.SpanHint.CompareAndSwap(hint, nextSpanHint(hint, g)) {
			return
		}
	}
}

// nextSpanHint packs a granule under a new version.
func nextSpanHint(hint, g uint64) uint64 { return hint>>32<<32 + 1<<32 | g }
