package alloc

import (
	"github.com/shmheap/shmheap/internal/layout"
)

// Stats is a count of the heap. It is made by walking the states and bitmaps: nothing is counted
// while allocating. With peers at work it is a blurred picture.
type Stats struct {
	Live         uint64 // blocks in use, large ones included
	LiveBytes    uint64 // their sizes, as rounded up to size classes and granules
	FreeBlocks   uint64 // free blocks in slabs
	Slabs        uint64 // slabs, of all caches and of nobody
	Large        uint64 // large blocks
	LargeBytes   uint64 // their sizes
	Arenas       uint64 // arenas, published or not; their blocks are not among the live ones
	ArenaChunks  uint64 // spans that they consist of
	ArenaUsed    uint64 // bytes of their blocks
	ArenaBytes   uint64 // bytes of their chunks
	Claimed      uint64 // spans being made or taken apart
	FreeGranules uint64 // granules of 64 KiB that are free, in the whole region
	Caches       uint64 // caches in use, of all processes
	Committed    uint64 // bytes that have storage, tables included

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
	s.Committed = a.region.Committed()
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
		c := &classes[state.Class()]
		free := a.countFree(a.slab(g, state))
		c.Slabs++
		c.Free += free
		c.Live += uint64(layout.Classes[state.Class()].Blocks) - free
	case layout.KindLarge:
		s.Large++
		s.LargeBytes += state.Run() << layout.GranuleShift
	case layout.KindArena, layout.KindChunk:
		a.countChunk(g, state, s)
	case layout.KindClaimed:
		s.Claimed++
		return 1, nil // not all of the run may be its own
	case layout.KindTail:
		return 1, nil // of a claimed head
	default:
		s.FreeGranules++
		return 1, nil
	}
	return state.Run(), nil
}

// countChunk counts the head or a further chunk of an arena.
func (a *Allocator) countChunk(g uint64, state layout.State, s *Stats) {
	bytes := state.Run() << layout.GranuleShift
	if state.Kind() == layout.KindArena {
		s.Arenas++
	}
	s.ArenaChunks++
	s.ArenaBytes += bytes
	s.ArenaUsed += min(a.arenaRecord(g).Used.Load(), bytes)
}
