package alloc

import (
	"fmt"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
)

// SpanKind is what a span is.
type SpanKind string

// Kinds of spans.
const (
	SpanTables  SpanKind = "tables"  // in front of the data
	SpanFree    SpanKind = "free"    // a run of free granules
	SpanClaimed SpanKind = "claimed" // being made or taken apart; one granule of it
	SpanSlab    SpanKind = "slab"    // blocks of one size class
	SpanLarge   SpanKind = "large"   // one large block
	SpanArena   SpanKind = "arena"   // first chunk of an arena
	SpanChunk   SpanKind = "chunk"   // further chunk of an arena
	SpanDamaged SpanKind = "damaged" // one granule whose state is nonsense
)

// Span is a run of granules that are one thing. Of a slab
//
//	Used <= Blocks, UsedBytes == Used * BlockSize, and what Blocks * BlockSize leaves of Bytes is never used
type Span struct {
	Kind      SpanKind    // what it is
	Offset    uint64      // from the base
	Bytes     uint64      // its length
	Committed uint64      // of that, bytes that have storage
	BlockSize uint64      // bytes of a block of a slab, else 0
	Blocks    uint64      // blocks that a slab has; 1 for a large block
	Used      uint64      // of those, the ones in use
	UsedBytes uint64      // bytes in use, as rounded up; of tables, what has storage
	Owner     heap.PeerID // whose cache owns it, or who allocated a large block; 0 for nobody
	Private   bool        // its blocks die with the owner unless they are published
	Sampled   bool        // its blocks are samples of the profile
}

// Spans yields what the region consists of, from its begin to its end without a gap. It reads states and bitmaps;
// with peers at work it is a blurred picture, and whatever is in the tables it ends and stays inside. A closed
// allocator yields nothing.
func (a *Allocator) Spans(yield func(Span) bool) {
	if a.enter() != nil {
		return
	}
	defer a.leave()
	if !yield(a.tablesSpan()) {
		return
	}
	g := a.first
	for end := a.frontier(); g < end; {
		s := a.spanAt(g, end)
		if !yield(s) {
			return
		}
		g += s.Bytes >> layout.GranuleShift
	}
	if g < a.limit {
		yield(a.span(SpanFree, g, a.limit-g))
	}
}

func (a *Allocator) tablesSpan() Span {
	s := a.span(SpanTables, 0, a.first)
	s.UsedBytes = s.Committed
	return s
}

// span is n granules from g on with nothing in use.
func (a *Allocator) span(kind SpanKind, g, n uint64) Span {
	return Span{
		Kind: kind, Offset: g << layout.GranuleShift, Bytes: n << layout.GranuleShift,
		Committed: (n - a.countUncommitted(g, n)) << layout.GranuleShift,
	}
}

// spanAt describes what begins at granule g, in front of end.
func (a *Allocator) spanAt(g, end uint64) Span {
	state := layout.State(a.states[g].Load())
	switch {
	case !state.Valid(), state.Kind() != layout.KindTail && state.Run() > end-g:
		return a.span(SpanDamaged, g, 1)
	case state.Kind() == layout.KindFree:
		return a.span(SpanFree, g, a.freeRun(g, end))
	case state.Kind() == layout.KindTail, state.Kind() == layout.KindClaimed: // as in Stats
		s := a.span(SpanClaimed, g, 1)
		s.Owner = a.holder(g, state)
		return s
	}
	s := a.span(kindNames[state.Kind()], g, state.Run())
	if !a.describable(g, state) {
		s.Kind = SpanDamaged
		return s
	}
	s.Owner = a.holder(g, state)
	a.fill(&s, g, state)
	return s
}

var kindNames = map[layout.Kind]SpanKind{
	layout.KindSlab: SpanSlab, layout.KindLarge: SpanLarge, layout.KindArena: SpanArena, layout.KindChunk: SpanChunk,
}

// describable reports whether the descriptors of a span have storage.
func (a *Allocator) describable(g uint64, state layout.State) bool {
	at, size := a.tables.Slabs+g*layout.SlabSize, uint64(layout.SlabSize)
	if state.Kind() == layout.KindSlab {
		p := &a.bitmap[state.Class()]
		at, size = p.local+g*p.stride, p.stride
	}
	return a.hasStorage(at>>layout.GranuleShift) && a.hasStorage((at+size-1)>>layout.GranuleShift)
}

// fill adds what is in use.
func (a *Allocator) fill(s *Span, g uint64, state layout.State) {
	switch s.Kind {
	case SpanSlab:
		v, class := a.slab(g, state), &layout.Classes[state.Class()]
		s.BlockSize, s.Blocks, s.Used = uint64(class.Size), uint64(class.Blocks), a.countUsed(v)
		s.UsedBytes = s.Used * s.BlockSize
		s.Private, s.Sampled = state.Flags()&layout.FlagPrivate != 0, state.Flags()&layout.FlagSampled != 0
	case SpanLarge:
		s.Blocks, s.Used, s.UsedBytes, s.Private = 1, 1, s.Bytes, state.Cache() != 0
		s.Sampled = a.large(g).Sample.Load()&layout.SampleLarge != 0
	case SpanArena, SpanChunk:
		s.UsedBytes, s.Private = min(a.arenaRecord(g).Used.Load(), s.Bytes), s.Owner != 0
	}
}

// freeRun returns how many granules from g on are free. Those behind the frontier, which is end, are.
func (a *Allocator) freeRun(g, end uint64) (n uint64) {
	for n = 1; g+n < end && a.states[g+n].Load() == 0; n++ {
	}
	if g+n == end {
		return a.limit - g
	}
	return n
}

// Place is what is known of an address in the heap.
type Place struct {
	Span   Span       // that it lies in
	Offset uint64     // where the block begins; of an arena's chunk and of a large block, where the span does
	Size   uint64     // bytes of the block; 0 where there is none
	Index  uint64     // of the block in its slab
	State  BlockState // of the block
	Arena  uint64     // offset of the head of the arena that the chunk belongs to, 0 for none
	Site   string     // function, file and line that allocated it, where the profile has a sample of it
}

// BlockState is what a block is.
type BlockState string

// States of a block.
const (
	BlockNone    BlockState = ""                // no block: tables, free granules, or the end of a slab that is too short for one
	BlockUsed    BlockState = "in use"          //
	BlockFree    BlockState = "free"            // its owner can allocate it
	BlockFreed   BlockState = "freed elsewhere" // and not yet taken back by its owner
	BlockPrivate BlockState = "private"         // in use, and dies with its cache
)

// Locate says what lies at an offset from the base: the span, and the block that covers the byte, wherever in it
// off points. It returns ErrNotInHeap for an offset behind the end, and ErrClosed. It reads descriptors only; with
// peers at work the answer may be out of date when it is there.
func (a *Allocator) Locate(off uint64) (Place, error) {
	if err := a.enter(); err != nil {
		return Place{}, fmt.Errorf("locate %#x: %w", off, err)
	}
	defer a.leave()
	g := off >> layout.GranuleShift
	if g >= a.limit {
		return Place{}, fmt.Errorf("locate %#x: %w", off, ErrNotInHeap)
	}
	p := Place{Span: a.spanOf(g), Offset: off}
	switch p.Span.Kind {
	case SpanSlab:
		a.locateInSpan(&p, off)
	case SpanLarge:
		p.Offset, p.Size, p.State = p.Span.Offset, p.Span.Bytes, BlockUsed
		if p.Span.Private {
			p.State = BlockPrivate
		}
		p.Site = a.siteOf(p.Offset)
	case SpanArena, SpanChunk:
		p.Offset = p.Span.Offset
		if head, _, err := a.arenaOf(off); err == nil {
			p.Arena = head << layout.GranuleShift
		}
	}
	return p, nil
}

// spanOf describes the span that granule g belongs to.
func (a *Allocator) spanOf(g uint64) Span {
	end := a.frontier()
	switch {
	case g < a.first:
		return a.tablesSpan()
	case g >= end:
		g = max(end, a.first)
		for g > a.first && a.states[g-1].Load() == 0 {
			g--
		}
		return a.span(SpanFree, g, a.limit-g)
	}
	state := layout.State(a.states[g].Load())
	if state.Valid() && state.Kind() == layout.KindTail && state.Distance() <= g-a.first {
		head := g - state.Distance()
		if s := a.spanAt(head, end); s.Offset+s.Bytes > g<<layout.GranuleShift && s.Kind != SpanFree {
			return s
		}
	}
	if state == 0 {
		for g > a.first && a.states[g-1].Load() == 0 {
			g--
		}
	}
	return a.spanAt(g, end)
}

// locateInSpan finds the block of a slab that covers off.
func (a *Allocator) locateInSpan(p *Place, off uint64) {
	i := (off - p.Span.Offset) / p.Span.BlockSize
	if i >= p.Span.Blocks {
		return
	}
	p.Index, p.Offset, p.Size = i, p.Span.Offset+i*p.Span.BlockSize, p.Span.BlockSize
	b, err := a.locate(p.Offset)
	if err != nil || b.local == nil {
		return // it has become something else
	}
	switch {
	case b.local.Load()&b.bit != 0:
		p.State = BlockFree
	case b.remote.Load()&b.bit != 0:
		p.State = BlockFreed
	case p.Span.Private && b.public.Load()&b.bit == 0:
		p.State = BlockPrivate
	default:
		p.State = BlockUsed
	}
	if p.State != BlockFree && p.State != BlockFreed {
		p.Site = a.siteOf(p.Offset)
	}
}
