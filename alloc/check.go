package alloc

import (
	"fmt"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
)

// Check walks everything: what heap.Check does, and every state word, bitmap, hint and cache record.
// It may run while peers work: what a live peer has under way is not damage, and what a dead peer left
// is a note until Recover returns it. Of a slab it checks
//
//	blocks == free (local) + freed elsewhere (remote &^ local) + in use
//
// as: no bit stands for a block that does not exist, and of the whole data
//
//	granules == free + slabs + large blocks + arenas + claimed
//
// as: each granule is free, or in the run of exactly one head. That peers hold no more than there is,
//
//	slabs == those of each peer + those of nobody, and the same for large blocks and for arenas
//
// is so because each names one owner: Check wants owners that are, or of large blocks were, peers.
func (a *Allocator) Check() *heap.Report {
	r := new(heap.Report)
	if err := a.enter(); err != nil {
		r.Problem("%v", err)
		return r
	}
	defer a.leave()
	if a.heap != nil {
		if r = a.heap.Check(); r.Cut {
			return r
		}
	}
	c := checker{a: a, report: r, arenas: make(map[uint64]int)}
	c.caches()
	for g := a.first; g < a.frontier(); {
		g += c.span(g)
	}
	c.strays()
	c.outside()
	return r
}

// checker carries what a check has learned.
type checker struct {
	a      *Allocator
	report *heap.Report
	owners map[uint16]bool // caches in use, and whether their peer lives
	arenas map[uint64]int  // heads of arenas: chunks that say that they belong to it, less those that its list has
}

func (c *checker) caches() {
	c.owners = make(map[uint16]bool)
	for id := 1; id < len(c.a.caches) && c.a.hasRecord(id); id++ {
		owner := c.a.caches[id].Owner.Load()
		dead, err := c.a.isDead(owner)
		switch {
		case err != nil:
			c.report.Problem("cache %d: %v", id, err)
		case owner != 0 && dead:
			c.report.Note("cache %d belongs to dead peer %s: recover returns what it holds", id, ownerPeer(owner))
		}
		if owner != 0 {
			c.owners[uint16(id)] = !dead
		}
	}
}

// span checks what begins at granule g and returns its length. A finding counts only if it is there
// several times in a row and the state does not change: a peer may be at it.
func (c *checker) span(g uint64) uint64 {
	const enough = 5
	seen, last := 0, layout.State(0)
	for range 100 {
		s := layout.State(c.a.states[g].Load())
		n, problem := c.inspect(g, s)
		if problem == nil {
			return n
		}
		if s != last || c.settling(s) {
			seen, last = 0, s
		}
		if seen++; seen == enough {
			c.report.Problem("granule %d at %#x, state %#x: %v", g, c.a.address(g<<layout.GranuleShift), uint64(s), problem)
			return n
		}
	}
	c.report.Note("granule %d at %#x keeps changing and was not checked", g, c.a.address(g<<layout.GranuleShift))
	return 1
}

// settling reports whether the state belongs to a live cache, which may be in the middle of a step.
func (c *checker) settling(s layout.State) bool {
	if s.Kind() != layout.KindClaimed {
		return false
	}
	owner := c.a.caches[min(int(s.Cache()), len(c.a.caches)-1)].Owner.Load()
	dead, err := c.a.isDead(owner)
	return err == nil && owner != 0 && !dead
}

func (c *checker) inspect(g uint64, s layout.State) (uint64, error) {
	switch {
	case !s.Valid():
		return 1, fmt.Errorf("no such state")
	case s.Kind() == layout.KindFree:
		return 1, c.free(g)
	case s.Kind() == layout.KindTail:
		return 1, c.tail(g, s)
	case s.Run() > c.a.frontier()-g:
		return 1, fmt.Errorf("run leaves the heap")
	case s.Kind() == layout.KindClaimed:
		return 1, c.claimed(s) // its tails are looked at one by one
	}
	if err := c.run(g, s); err != nil {
		return s.Run(), err
	}
	if err := c.owned(s); err != nil {
		return s.Run(), err
	}
	switch s.Kind() {
	case layout.KindLarge:
		return s.Run(), c.large(g)
	case layout.KindSlab:
		return s.Run(), c.slab(g, s)
	case layout.KindArena:
		return s.Run(), c.arena(g)
	case layout.KindChunk:
		return s.Run(), c.chunk(g)
	}
	return s.Run(), nil
}

// owned: who owns a slab or a private large block is a cache in use.
func (c *checker) owned(s layout.State) error {
	a := c.a
	if s.Cache() == 0 || int(s.Cache()) < len(a.caches) && a.hasRecord(int(s.Cache())) && a.caches[s.Cache()].Owner.Load() != 0 {
		return nil
	}
	return fmt.Errorf("it belongs to cache %d, which is not in use", s.Cache())
}

// free: a free granule is marked free, or it would never be found.
func (c *checker) free(g uint64) error {
	if c.a.isBusy(g) && c.a.states[g].Load() == 0 {
		return fmt.Errorf("free, but the busy bitmap hides it")
	}
	return nil
}

// tail is called for tails that no slab or large block in front covers: their head must be claimed.
func (c *checker) tail(g uint64, s layout.State) error {
	if s.Distance() > g-c.a.first {
		return fmt.Errorf("tail without a head")
	}
	at := &c.a.states[g-s.Distance()]
	for range 100 {
		head := layout.State(at.Load())
		switch {
		case head.Kind() == layout.KindClaimed:
			return nil // being made, taken apart or resized
		case c.a.states[g].Load() != uint64(s):
			return nil // freed meanwhile
		case head == layout.State(at.Load()) && !(head.Run() > s.Distance() && isPublished(head)):
			return fmt.Errorf("tail of granule %d, which has state %#x", g-s.Distance(), uint64(head))
		case isPublished(head):
			return nil // meanwhile
		}
	}
	return nil
}

// isPublished reports whether the state is that of the head of a span that is used for something.
func isPublished(s layout.State) bool {
	k := s.Kind()
	return k == layout.KindSlab || k == layout.KindLarge || k == layout.KindArena || k == layout.KindChunk
}

func (c *checker) claimed(s layout.State) error {
	alive, known := c.owners[s.Cache()]
	switch {
	case !known && c.a.caches[min(int(s.Cache()), len(c.a.caches)-1)].Owner.Load() == 0:
		return fmt.Errorf("claimed by cache %d, which is not in use", s.Cache())
	case known && !alive:
		c.report.Note("run of %d granules is claimed by a dead peer", s.Run())
	}
	return nil
}

// run: the tails of a published span are in place and all of it has storage.
func (c *checker) run(g uint64, s layout.State) error {
	for i := range s.Run() {
		if i > 0 && c.a.states[g+i].Load() != uint64(layout.MakeState(layout.KindTail, 0, 0, i)) {
			return fmt.Errorf("granule %d of %d has state %#x", i, s.Run(), c.a.states[g+i].Load())
		}
		if !c.a.hasStorage(g + i) {
			return fmt.Errorf("granule %d of %d has no storage", i, s.Run())
		}
		if !c.a.isBusy(g + i) {
			c.report.Note("granule %d is in use and marked free: a stale hint", g+i)
		}
	}
	return nil
}

func (c *checker) slab(g uint64, s layout.State) error {
	a, p := c.a, &c.a.bitmap[s.Class()]
	if !a.hasStorage((p.local+g*p.stride)>>layout.GranuleShift) || !a.hasStorage((p.local+(g+1)*p.stride-1)>>layout.GranuleShift) {
		return fmt.Errorf("its bitmaps have no storage")
	}
	if fine := a.tables.Fine + g*layout.FineSize; s.Flags()&layout.FlagSampled != 0 && !a.hasStorage(fine>>layout.GranuleShift) {
		return fmt.Errorf("its samples have no storage")
	}
	v := a.slab(g, s)
	for i := range v.local {
		bits := v.local[i].Load() | v.remote[i].Load()
		if s.Flags()&layout.FlagPrivate != 0 {
			bits |= v.published[i].Load()
		}
		if bad := bits &^ p.valid(uint64(i)); bad != 0 {
			return fmt.Errorf("word %d of its bitmaps has bits %#x for blocks that do not exist", i, bad)
		}
	}
	if s.Flags()&layout.FlagSampled != 0 {
		for number := range a.eachSample(v) {
			if uint64(number) > a.siteCount {
				return fmt.Errorf("a sample of it names site %d of %d", number, a.siteCount)
			}
		}
	}
	if s.Cache() == 0 && a.hintWord(s.Class(), g).Load()>>(g%64)&1 == 0 {
		return fmt.Errorf("slab of nobody without an adoption hint")
	}
	return nil
}

// large: the descriptor names a peer that is or was, as a block outlives who allocated it, and a site.
func (c *checker) large(g uint64) error {
	a, d := c.a, c.a.large(g)
	id, sample := heap.PeerID(d.Charged.Load()), d.Sample.Load()
	if int(id.Slot()) >= len(a.peers) || id.Generation() == 0 ||
		uint64(id)>>(layout.PeerGenBits+layout.PeerSlotBits) != 0 ||
		uint64(id.Generation()) > a.peers[id.Slot()].State.Load()>>layout.PeerStateBits {
		return fmt.Errorf("it counts for peer %s, which there never was", id)
	}
	if site := sample &^ layout.SampleLarge; site != sample && site > a.siteCount || site == sample && site != 0 {
		return fmt.Errorf("its sample is %#x", sample)
	}
	return nil
}

// outside: nothing in front of the data is marked.
func (c *checker) outside() {
	if f := c.a.super.Frontier.Load(); f != 0 && f != c.a.limit && f%layout.ChunkGranules != 0 {
		c.report.Problem("frontier %d is not at the end of a chunk", f)
	}
}
