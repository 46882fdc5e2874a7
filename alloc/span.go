package alloc

import (
	"errors"
	"fmt"
	mathbits "math/bits"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
)

// frontier returns the number of granules whose tables may be touched.
func (a *Allocator) frontier() uint64 { return min(a.super.Frontier.Load(), a.limit) }

// extend commits the tables of the next chunk and moves the frontier behind it. Killed in between, the
// next one commits what is committed already.
func (a *Allocator) extend(frontier uint64) error {
	if frontier >= a.limit {
		return fmt.Errorf("%w: all %d granules are in use", ErrNoSpace, a.limit-a.first)
	}
	from := max(frontier, a.first-a.first%layout.ChunkGranules) // granules of tables have no state
	next := min(from-from%layout.ChunkGranules+layout.ChunkGranules, a.limit)
	chunk := from / layout.ChunkGranules
	for _, table := range []struct{ off, n uint64 }{
		{a.tables.States + from*8, (next - from) * 8},
		{a.tables.Busy + chunk*layout.ChunkGranules/8, layout.ChunkGranules / 8},
		{a.tables.Hints + chunk*layout.ChunkHintSize, layout.ChunkHintSize},
		{a.tables.Slabs + from*layout.SlabSize, (next - from) * layout.SlabSize},
	} {
		if err := a.region.Commit(table.off, table.n); err != nil {
			return err
		}
	}
	crashpoint.Hit("alloc.extend.after-commit")
	a.super.Frontier.CompareAndSwap(frontier, next)
	return nil
}

// fit is what a run must be: n granules, from a granule that is a multiple of align.
type fit struct{ n, align uint64 }

// granules is a fit that may begin anywhere.
func granules(n uint64) fit { return fit{n, 1} }

// claimCommitted claims a run of free granules and gives it storage. When the file system is full, a
// run that has storage already will do.
func (c *Cache) claimCommitted(want fit) (head uint64, err error) {
	n := want.n
	if err := c.a.quota.reserve(c.a, n); err != nil {
		return 0, err
	}
	defer func() { c.a.quota.settle(n, err == nil) }()
	if head, err = c.claimRun(want); err != nil {
		return 0, err
	}
	if err = c.supply(head, n); err == nil {
		return head, nil
	}
	if err = c.abandon(head, n, err); errors.Is(err, ErrNoSpace) {
		if head, ok := c.claimWithStorage(want); ok {
			return head, nil
		}
	}
	return 0, err
}

// supply gives the n granules at head, which the cache has claimed, storage.
func (c *Cache) supply(head, n uint64) error {
	fresh := c.a.countUncommitted(head, n)
	c.a.retention.took(n, fresh)
	if fresh == 0 {
		return nil
	}
	return c.a.region.Commit(head<<layout.GranuleShift, n<<layout.GranuleShift)
}

// claimWithStorage claims the lowest run of free granules that have storage.
func (c *Cache) claimWithStorage(want fit) (uint64, bool) {
	a, n, run := c.a, want.n, uint64(0)
	for g := a.first; g < a.frontier(); g++ {
		run++
		if a.isBusy(g) || !a.hasStorage(g) {
			run = 0
		}
		if run >= n && a.isAligned(g+1-n, want.align) && c.tryClaim(g+1-n, n) == n {
			if a.countUncommitted(g+1-n, n) == 0 {
				return g + 1 - n, true
			}
			if a.releaseRun(g+1-n, n) != nil {
				return 0, false
			}
		}
	}
	return 0, false
}

// countUncommitted returns how many of the n granules at g have no storage.
func (a *Allocator) countUncommitted(g, n uint64) (fresh uint64) {
	for i := range n {
		if !a.hasStorage(g + i) {
			fresh++
		}
	}
	return fresh
}

// claimRun claims a run of free granules: one that the cache has freed a moment ago, or one of the lowest.
func (c *Cache) claimRun(want fit) (uint64, error) {
	a, n := c.a, want.n
	if head, ok := c.claimRecent(want); ok {
		return head, nil
	}
	if n > a.limit-a.first {
		return 0, fmt.Errorf("%w: %d granules of %d", ErrTooLarge, n, a.limit-a.first)
	}
	hint := a.super.SpanHint.Load()
	from := max(uint64(uint32(hint)), a.first)
	for searched := false; ; {
		end := a.frontier()
		if head, ok := c.claimBetween(from, end, want); ok {
			a.moveSpanHint(hint, head, want)
			return head, nil
		}
		if !searched && from > a.first {
			from, searched = a.first, true
			continue
		}
		if err := a.extend(end); err != nil {
			return 0, err
		}
		from, searched = a.trailingFree(end), true
	}
}

// trailingFree returns the begin of the run of free granules in front of end.
func (a *Allocator) trailingFree(end uint64) uint64 {
	for end > a.first && !a.isBusy(end-1) {
		end--
	}
	return max(end, a.first)
}

// claimBetween tries the runs of free granules in [from, end), lowest first, but for one that is as long as wanted.
func (c *Cache) claimBetween(from, end uint64, want fit) (uint64, bool) {
	for {
		head, ok := c.a.findRun(from, end, want)
		if !ok {
			return 0, false
		}
		if exact, ok := c.a.findExact(head, end, want); ok && c.tryClaim(exact, want.n) == want.n {
			return exact, true
		}
		taken := c.tryClaim(head, want.n)
		if taken == want.n {
			return head, true
		}
		from = head + taken + 1 // somebody was quicker, or the hint is stale
	}
}

// tryClaim claims [head, head+n), head first, and returns how many it got before it met one that was not
// free; then it has given them back. The busy bits follow: a granule may be marked free and not be,
// never the other way round.
func (c *Cache) tryClaim(head, n uint64) uint64 {
	a := c.a
	claimed := layout.MakeState(layout.KindClaimed, 0, c.id, n)
	if !a.states[head].CompareAndSwap(0, uint64(claimed)) {
		return 0
	}
	crashpoint.Hit("alloc.claim.after-head")
	for i := uint64(1); i < n; i++ {
		if !a.states[head+i].CompareAndSwap(0, uint64(layout.MakeState(layout.KindTail, 0, 0, i))) {
			a.freeTails(head, i)
			a.states[head].Swap(0)
			return i
		}
		crashpoint.Hit("alloc.claim.after-tail")
	}
	a.setBusy(head, head+n)
	return n
}

func (a *Allocator) setBusy(first, end uint64) {
	for word, bits := range layout.BitRange(first, end) {
		a.busy[word].Or(bits)
		crashpoint.Hit("alloc.claim.after-busy")
	}
}

// releaseRun frees a run whose head the caller has claimed: the tails, then the head. It may be called
// again for a run of which a dead process freed only some tails.
func (a *Allocator) releaseRun(head, n uint64) error {
	claimed := layout.State(a.states[head].Load())
	if claimed.Kind() != layout.KindClaimed || claimed.Run() != n || n == 0 || n > a.limit-head {
		return a.corrupt(head<<layout.GranuleShift, "state %#x of a claimed run of %d granules", uint64(claimed), n)
	}
	a.freeTails(head, n)
	crashpoint.Hit("alloc.release.after-tails")
	a.clearBusy(head)
	a.states[head].Swap(0)
	crashpoint.Hit("alloc.release.after-head")
	a.lowerSpanHint(head)
	return nil
}

// freeTails frees the tails in [head+1, head+n) that still belong to the head, a word of the busy bitmap at a
// time: its bits, then the states. Until a state is 0 the tail is the caller's.
func (a *Allocator) freeTails(head, n uint64) {
	for word, bits := range layout.BitRange(head+1, head+n) {
		if bits = a.tailsOf(head, word, bits); bits == 0 {
			continue
		}
		a.busy[word].And(^bits)
		crashpoint.Hit("alloc.release.after-busy")
		for ; bits != 0; bits &= bits - 1 {
			a.states[word*64+uint64(mathbits.TrailingZeros64(bits))].StoreRelease(0)
			crashpoint.Hit("alloc.release.after-tail")
		}
	}
}

// tailsOf returns which of the granules of a word of the busy bitmap are tails of the head.
func (a *Allocator) tailsOf(head, word, bits uint64) (tails uint64) {
	for ; bits != 0; bits &= bits - 1 {
		g := word*64 + uint64(mathbits.TrailingZeros64(bits))
		if a.states[g].Load() == uint64(layout.MakeState(layout.KindTail, 0, 0, g-head)) {
			tails |= bits & -bits
		}
	}
	return tails
}

// isWhole reports whether the tails of a run are where its head says. What is done to a run as a whole
// must not reach into others because a damaged head says so.
func (a *Allocator) isWhole(head, n uint64) bool {
	if n == 0 || n > a.limit-head {
		return false
	}
	for i := uint64(1); i < n; i++ {
		if a.states[head+i].Load() != uint64(layout.MakeState(layout.KindTail, 0, 0, i)) {
			return false
		}
	}
	return true
}

func (a *Allocator) clearBusy(g uint64) { a.busy[g/64].And(^(uint64(1) << (g % 64))) }

// allocLarge takes a span for one block, of this cache when it is to be private and of nobody otherwise.
// Killed before the state is published, the run goes back.
func (c *Cache) allocLarge(size uint64, owner uint16) (uint64, error) {
	return c.allocLargeAligned(size, 1, owner)
}

// allocLargeAligned is allocLarge for a block whose first granule is a multiple of align.
func (c *Cache) allocLargeAligned(size, align uint64, owner uint16) (uint64, error) {
	head, n, err := c.claimLarge(size, align)
	if err != nil {
		return 0, err
	}
	c.publishLarge(head, n, owner)
	return head << layout.GranuleShift, nil
}

func (c *Cache) claimLarge(size, align uint64) (head, n uint64, err error) {
	if size > c.a.limit<<layout.GranuleShift {
		return 0, 0, fmt.Errorf("%w: %d bytes", ErrTooLarge, size)
	}
	n = granulesOf(size)
	err = c.insist(func() error {
		head, err = c.claimCommitted(fit{n, align})
		return err
	})
	return head, n, err
}

// granulesOf returns how many granules size bytes need.
func granulesOf(size uint64) uint64 {
	return max((size+layout.GranuleSize-1)>>layout.GranuleShift, 1)
}

func (c *Cache) publishLarge(head, n uint64, owner uint16) {
	c.assertRun(head, n)
	c.chargeLarge(head, n)
	crashpoint.Hit("alloc.large.before-publish")
	c.a.states[head].Swap(uint64(layout.MakeState(layout.KindLarge, 0, owner, n)))
	crashpoint.Hit("alloc.large.after-publish")
}

// claimLargeBlock takes a large block away from its users: of several that free it at once one gets it.
func (c *Cache) claimLargeBlock(head uint64, large layout.State) error {
	if !c.a.isWhole(head, large.Run()) {
		return c.a.corrupt(head<<layout.GranuleShift, "block of %d granules is not whole", large.Run())
	}
	claimed := layout.MakeState(layout.KindClaimed, 0, c.id, large.Run())
	if !c.a.states[head].CompareAndSwap(uint64(large), uint64(claimed)) {
		return fmt.Errorf("free %#x: %w", c.a.address(head<<layout.GranuleShift), ErrDoubleFree)
	}
	crashpoint.Hit("alloc.large.after-claim")
	return nil
}

// releaseSpan frees a run that the cache has claimed, and keeps its storage within bounds.
func (c *Cache) releaseSpan(head, n uint64) error {
	c.assertRun(head, n)
	err := c.a.releaseRun(head, n)
	if err == nil {
		c.recent.note(head, n)
		c.retain(n)
	}
	return err
}
