package alloc

import (
	"github.com/shmheap/shmheap/internal/layout"
)

// Stats is a count of the heap. It is made by walking the states and bitmaps: nothing is counted
// while allocating. With peers at work it is a blurred picture; with none
//
//	bytes of the data == SlabBytes + LargeBytes + ArenaBytes + ClaimedBytes + 64 KiB * FreeGranules
//	Live + FreeBlocks == blocks that the slabs have + Large
//	Slabs             == Unowned + those in Usage, and so for LargeBytes, and Arenas with ArenasPublished
type Stats struct {
	Live            uint64 // blocks in use, large ones included
	LiveBytes       uint64 // their sizes, as rounded up to size classes and granules
	FreeBlocks      uint64 // free blocks in slabs
	Uncollected     uint64 // of those, freed by others, or quarantined by a careful cache, and not yet taken back
	Private         uint64 // of the live blocks, those that die with their cache
	PrivateBytes    uint64 // their sizes
	Published       uint64 // of the live blocks, those of slabs of private ones that were published
	Samples         uint64 // of the live blocks, those that the profile tells of
	Slabs           uint64 // slabs, of all caches and of nobody
	SlabBytes       uint64 // their lengths
	Unowned         uint64 // slabs of nobody, which any cache may adopt
	Large           uint64 // large blocks
	LargeBytes      uint64 // their sizes
	Arenas          uint64 // arenas, published or not; their blocks are not among the live ones
	ArenasPublished uint64 // of those, the published ones
	ArenaChunks     uint64 // spans that they consist of
	ArenaUsed       uint64 // bytes of their blocks
	ArenaBytes      uint64 // bytes of their chunks
	Claimed         uint64 // spans being made or taken apart
	ClaimedBytes    uint64 // their lengths
	FreeGranules    uint64 // granules of 64 KiB that are free, in the whole region
	Retained        uint64 // of those, the ones that have storage
	Caches          uint64 // caches in use, of all processes
	Committed       uint64 // bytes that have storage, tables included
	Limit           uint64 // what heap.SetLimit set: bytes that may have storage, 0 for no limit
	ProfileRate     uint64 // what SetProfileRate set, 0 for no new samples

	Classes []ClassStats // the size classes that have slabs, smallest first
}

// ClassStats is a count of one size class that has slabs.
type ClassStats struct {
	Size  uint64 // bytes of a block
	Slabs uint64 // slabs of the class
	Live  uint64 // blocks in use
	Free  uint64 // blocks that are not
}

// Stats counts the heap. It returns ErrCorrupt when it meets nonsense, with what it counted until then.
func (a *Allocator) Stats() (Stats, error) {
	var s Stats
	var classes [layout.NumClasses]ClassStats
	if err := a.enter(); err != nil {
		return s, err
	}
	defer a.leave()
	g := a.first
	for end := a.frontier(); g < end; {
		n, err := a.countSpan(g, &s, &classes)
		if err != nil {
			return s, err
		}
		g += n
	}
	s.FreeGranules += a.limit - g
	for i, c := range classes {
		if c.Slabs != 0 {
			c.Size = uint64(layout.Classes[i].Size)
			s.Live, s.LiveBytes = s.Live+c.Live, s.LiveBytes+c.Live*c.Size
			s.Slabs, s.FreeBlocks = s.Slabs+c.Slabs, s.FreeBlocks+c.Free
			s.Classes = append(s.Classes, c)
		}
	}
	for id := 1; id < len(a.caches) && a.hasRecord(id); id++ {
		if a.caches[id].Owner.Load() != 0 {
			s.Caches++
		}
	}
	s.Live, s.LiveBytes = s.Live+s.Large, s.LiveBytes+s.LargeBytes
	for range a.everySample {
		s.Samples++
	}
	s.Committed, s.Limit, s.ProfileRate = a.region.Committed(), a.super.Limit.Load(), a.super.ProfileRate.Load()
	return s, nil
}

// countSpan counts what begins at granule g and returns its length.
func (a *Allocator) countSpan(g uint64, s *Stats, classes *[layout.NumClasses]ClassStats) (uint64, error) {
	state := layout.State(a.states[g].Load())
	if !state.Valid() || state.Kind() != layout.KindTail && state.Run() > a.limit-g {
		return 0, a.corrupt(g<<layout.GranuleShift, "state %#x", uint64(state))
	}
	switch state.Kind() {
	case layout.KindSlab:
		a.countSlab(g, state, s, &classes[state.Class()])
	case layout.KindLarge:
		s.Large++
		s.LargeBytes += state.Run() << layout.GranuleShift
		if state.Cache() != 0 {
			s.Private++
			s.PrivateBytes += state.Run() << layout.GranuleShift
		}
	case layout.KindArena, layout.KindChunk:
		a.countChunk(g, state, s)
	case layout.KindClaimed:
		s.Claimed++
		s.ClaimedBytes += layout.GranuleSize
		return 1, nil // not all of the run may be its own
	case layout.KindTail:
		s.ClaimedBytes += layout.GranuleSize // the head is claimed
		return 1, nil
	default:
		s.FreeGranules++
		if a.hasStorage(g) {
			s.Retained++
		}
		return 1, nil
	}
	return state.Run(), nil
}

// countSlab counts a slab. The bits of remote that are in local too were collected already.
func (a *Allocator) countSlab(g uint64, state layout.State, s *Stats, c *ClassStats) {
	v, size := a.slab(g, state), uint64(layout.Classes[state.Class()].Size)
	free := a.countFree(v)
	live := uint64(layout.Classes[state.Class()].Blocks) - free
	c.Slabs, c.Free, c.Live = c.Slabs+1, c.Free+free, c.Live+live
	s.SlabBytes += state.Run() << layout.GranuleShift
	s.Uncollected += a.countUncollected(v)
	if state.Cache() == 0 {
		s.Unowned++
	}
	if state.Flags()&layout.FlagPrivate != 0 {
		private := min(a.countPrivate(v), live) // blocks come and go meanwhile
		s.Private, s.PrivateBytes = s.Private+private, s.PrivateBytes+private*size
		s.Published += live - private
	}
}

// countChunk counts the head or a further chunk of an arena.
func (a *Allocator) countChunk(g uint64, state layout.State, s *Stats) {
	bytes := state.Run() << layout.GranuleShift
	if state.Kind() == layout.KindArena {
		s.Arenas++
		if state.Cache() == 0 {
			s.ArenasPublished++
		}
	}
	s.ArenaChunks++
	s.ArenaBytes += bytes
	s.ArenaUsed += min(a.arenaRecord(g).Used.Load(), bytes)
}
