package layout

import (
	"fmt"
	"iter"
)

// Geometry is what an opener needs to know of a region: its size, the lengths of the tables, and from
// them the place of each.
type Geometry struct {
	Size      uint64
	MaxRoots  uint32
	MaxPeers  uint32
	MaxCaches uint32
	Sections  Sections
}

// Limits of a geometry.
const (
	MinSize = 4 << 20
	MaxSize = 1 << 46
	// minData is the least number of data granules that make a heap.
	minData = 16
)

// NewGeometry places the tables of a region of size bytes. It returns an error when a number is out
// of range or the tables leave no room for data.
func NewGeometry(size uint64, roots, peers, caches uint32) (Geometry, error) {
	g := Geometry{Size: size, MaxRoots: roots, MaxPeers: peers, MaxCaches: caches}
	switch {
	case size < MinSize || size > MaxSize || size%GranuleSize != 0:
		return g, fmt.Errorf("size of %d bytes: want a multiple of %d from %d to %d", size, GranuleSize, uint64(MinSize), uint64(MaxSize))
	case roots == 0 || roots > 1<<16:
		return g, fmt.Errorf("%d roots, want 1 to %d", roots, 1<<16)
	case peers == 0 || peers > MaxPeers:
		return g, fmt.Errorf("%d peers, want 1 to %d", peers, MaxPeers)
	case caches == 0 || caches >= MaxCaches:
		return g, fmt.Errorf("%d caches, want 1 to %d", caches, MaxCaches-1)
	}
	g.place()
	if g.Sections.Data+minData*GranuleSize > size {
		return g, fmt.Errorf("tables of %d bytes leave no room for data in %d", g.Sections.Data, size)
	}
	return g, nil
}

// place computes the sections. Tables that are indexed by granule have room for every granule of the
// region, those in front included, so that an index is an offset shifted.
func (g *Geometry) place() {
	n := g.Granules()
	chunks := (n + ChunkGranules - 1) / ChunkGranules
	at := uint64(SuperblockSize)
	next := func(bytes uint64) uint64 {
		here := at
		at = (at + bytes + PageSize - 1) &^ (PageSize - 1)
		return here
	}
	s := &g.Sections
	s.Committed = next(BitmapSize(n))
	s.Roots = next(uint64(g.MaxRoots) * RootSize)
	s.Peers = next(uint64(g.MaxPeers) * PeerSize)
	s.Caches = next(uint64(g.MaxCaches+1) * CacheSize)
	s.States = next(n * 8)
	s.Busy = next(BitmapSize(n))
	s.Hints = next(chunks * ChunkHintSize)
	s.Slabs = next(n * SlabSize)
	s.Fine = next(n * FineSize)
	s.Sites = next(g.Sites() * SiteSize)
	s.Data = (at + GranuleSize - 1) &^ (GranuleSize - 1)
}

// Granules returns the number of granules of the region, tables included.
func (g *Geometry) Granules() uint64 { return g.Size >> GranuleShift }

// Sites returns the number of entries of the table of sites.
func (g *Geometry) Sites() uint64 { return min(g.Granules()/4, maxSites) }

// FirstGranule returns the first data granule.
func (g *Geometry) FirstGranule() uint64 { return g.Sections.Data >> GranuleShift }

// BitmapSize returns the bytes of a bitmap of n bits, in whole words.
func BitmapSize(n uint64) uint64 { return (n + 63) / 64 * 8 }

// BitRange yields the words of a bitmap that have the bits [first, end), each with those bits.
func BitRange(first, end uint64) iter.Seq2[uint64, uint64] {
	return func(yield func(word, bits uint64) bool) {
		for first < end {
			n := min(64-first%64, end-first)
			if !yield(first/64, ^uint64(0)>>(64-n)<<(first%64)) {
				return
			}
			first += n
		}
	}
}
