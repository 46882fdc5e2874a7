package alloc

import (
	"context"
	"math/bits"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// A marker knows which blocks can be reached. It makes a picture of all spans first, so that what it does afterwards
// depends on nothing but the insides of blocks, of which any content will do: survey has proved that every
// block of the picture has storage. Marks are a bit for each block, in this process's memory. The stack of what is to
// be scanned is bounded: when it is full, a block is marked all the same and its span noted, and when the stack is
// empty the marked blocks of such spans are scanned once more.

// marked is a span in a marker's picture.
type marked struct {
	bits    uint64 // index of its first word in live and marks
	head    uint32 // granule
	run     uint32
	next    uint32 // of an arena or a chunk: 1 + index of the next chunk
	arena   uint32 // of a chunk: index of the arena
	kind    layout.Kind
	class   uint8
	owned   bool // by a cache, with which blocks die that are not published
	pending bool // blocks are marked that have not been scanned
}

// extent is a part of the heap that is to be scanned.
type extent struct{ off, n uint64 }

type marker struct {
	a    *Allocator
	ctx  context.Context
	opts *CollectOptions
	done Collected

	index []uint32 // by granule, from a.first: 1 + index of the span that covers it
	spans []marked
	live  []uint64 // blocks in use, bit i%64 of word bits+i/64
	marks []uint64 // those that were reached

	stack    []extent
	overflow bool
	blocks   uint64 // reached
	bytes    uint64 // theirs
	inUse    uint64
	reported uint64 // scanned when Progress was called last
}

// Bounds of the marker: 1 MiB of stack, as much scanned at a time, and how often it says so.
const (
	markStack    = 1 << 16
	scanStep     = 1 << 20
	progressStep = 64 << 20
)

// survey makes the picture. It returns ErrCorrupt rather than leave something out that may lead to others.
func (m *marker) survey() error {
	a := m.a
	end := a.frontier()
	m.index = make([]uint32, max(end, a.first)-a.first)
	for g := a.first; g < end; {
		s := layout.State(a.states[g].Load())
		n, err := m.surveySpan(g, s)
		if err != nil {
			return err
		}
		g += n
	}
	m.marks = make([]uint64, len(m.live))
	limit := markStack
	if m.opts.stackLimit > 0 {
		limit = m.opts.stackLimit
	}
	m.stack = make([]extent, 0, limit)
	return m.joinChunks()
}

// surveySpan adds what begins at granule g and returns its length. Free granules, and what a cache is making, are
// nothing that could be led to.
func (m *marker) surveySpan(g uint64, s layout.State) (uint64, error) {
	a := m.a
	if !s.Valid() {
		return 0, a.corrupt(g<<layout.GranuleShift, "state %#x", uint64(s))
	}
	if !isPublished(s) {
		return 1, nil
	}
	if s.Run() > a.frontier()-g || !a.isWhole(g, s.Run()) || a.countUncommitted(g, s.Run()) != 0 {
		return 0, a.corrupt(g<<layout.GranuleShift, "span of %d granules is not whole", s.Run())
	}
	span := marked{
		bits: uint64(len(m.live)), head: uint32(g), run: uint32(s.Run()),
		kind: s.Kind(), class: uint8(s.Class()), owned: s.Cache() != 0,
	}
	if s.Kind() == layout.KindSlab {
		span.owned = s.Flags()&layout.FlagPrivate != 0
		if err := m.surveySlab(g, s); err != nil {
			return 0, err
		}
	} else {
		m.live = append(m.live, 1)
	}
	m.spans = append(m.spans, span)
	for i := range s.Run() {
		m.index[g-a.first+i] = uint32(len(m.spans))
	}
	m.inUse += s.Run() << layout.GranuleShift
	return s.Run(), nil
}

func (m *marker) surveySlab(g uint64, s layout.State) error {
	a, p := m.a, &m.a.bitmap[s.Class()]
	at := p.local + g*p.stride
	if !a.hasStorage(at>>layout.GranuleShift) || !a.hasStorage((at+p.stride-1)>>layout.GranuleShift) {
		return a.corrupt(g<<layout.GranuleShift, "bitmaps of a slab have no storage")
	}
	v := a.slab(g, s)
	for i := range v.local {
		m.live = append(m.live, ^(v.local[i].Load()|v.remote[i].Load())&p.valid(uint64(i)))
	}
	return nil
}

// joinChunks leads from each arena to its chunks.
func (m *marker) joinChunks() error {
	for i := range m.spans {
		s := &m.spans[i]
		if s.kind != layout.KindChunk {
			continue
		}
		head := m.a.arenaRecord(uint64(s.head)).Head.Load()
		at := m.indexOf(head << layout.GranuleShift)
		if head >= m.a.limit || at == 0 || m.spans[at-1].kind != layout.KindArena || uint64(m.spans[at-1].head) != head {
			return m.a.corrupt(uint64(s.head)<<layout.GranuleShift, "chunk of granule %d, which heads no arena", head)
		}
		arena := &m.spans[at-1]
		s.arena, s.next, arena.next = at-1, arena.next, uint32(i+1)
	}
	return nil
}

// nextChunk returns the chunk behind an arena or a chunk, nil at the end.
func (m *marker) nextChunk(s *marked) *marked {
	if s.next == 0 {
		return nil
	}
	return &m.spans[s.next-1]
}

// indexOf returns 1 + the index of the span that covers the byte at off, or 0.
func (m *marker) indexOf(off uint64) uint32 {
	g := off>>layout.GranuleShift - m.a.first
	if g >= uint64(len(m.index)) {
		return 0
	}
	return m.index[g]
}

// mark reaches the block that the byte at off lies in, if there is one.
func (m *marker) mark(off uint64) {
	i := m.indexOf(off)
	if i == 0 {
		return
	}
	s := &m.spans[i-1]
	switch s.kind {
	case layout.KindSlab:
		m.markInSlab(s, off)
	case layout.KindChunk:
		m.markSpan(&m.spans[s.arena])
	default:
		m.markSpan(s)
	}
}

func (m *marker) markInSlab(s *marked, off uint64) {
	class := &layout.Classes[s.class]
	start := uint64(s.head) << layout.GranuleShift
	i := (off - start) * uint64(class.Recip) >> 32
	if i >= uint64(class.Blocks) {
		return
	}
	at, bit := s.bits+i/64, uint64(1)<<(i%64)
	if m.live[at]&^m.marks[at]&bit == 0 {
		return
	}
	m.marks[at] |= bit
	m.blocks++
	m.bytes += uint64(class.Size)
	m.push(s, extent{start + i*uint64(class.Size), uint64(class.Size)})
}

// markSpan reaches a large block or an arena.
func (m *marker) markSpan(s *marked) {
	if m.marks[s.bits] != 0 {
		return
	}
	m.marks[s.bits] = 1
	m.blocks++
	for at := s; at != nil; at = m.nextChunk(at) {
		m.bytes += uint64(at.run) << layout.GranuleShift
		m.push(s, m.content(at))
	}
}

// content returns what is to be scanned of a large block, or of an arena's chunk.
func (m *marker) content(s *marked) extent {
	e := extent{uint64(s.head) << layout.GranuleShift, uint64(s.run) << layout.GranuleShift}
	if s.kind != layout.KindLarge {
		e.n = min(e.n, m.a.arenaRecord(uint64(s.head)).Used.Load()&^7)
	}
	return e
}

// push has an extent of the span scanned later.
func (m *marker) push(s *marked, e extent) {
	if len(m.stack) < cap(m.stack) {
		m.stack = append(m.stack, e)
		return
	}
	s.pending, m.overflow = true, true
}

// markOwned reaches what is private to a cache.
func (m *marker) markOwned() {
	for i := range m.spans {
		s := &m.spans[i]
		if !s.owned {
			continue
		}
		if s.kind != layout.KindSlab {
			m.mark(uint64(s.head) << layout.GranuleShift)
			continue
		}
		class := &layout.Classes[s.class]
		v := m.a.slab(uint64(s.head), layout.MakeState(layout.KindSlab, int(s.class), 0, uint64(class.Granules)))
		for w := range v.published {
			for rest := m.live[s.bits+uint64(w)] &^ v.published[w].Load(); rest != 0; rest &= rest - 1 {
				m.mark(m.a.blockAddress(s, uint64(w), rest) - m.a.address(0))
			}
		}
	}
}

// blockAddress returns the address of the block of the lowest bit in rest, which is of word w of the span's bitmap.
func (a *Allocator) blockAddress(s *marked, w, rest uint64) uint64 {
	i := w*64 + uint64(bits.TrailingZeros64(rest))
	return a.address(uint64(s.head)<<layout.GranuleShift + i*uint64(layout.Classes[s.class].Size))
}

// reached scans until nothing is left to scan, and says whose doing that was.
func (m *marker) reached(name, kind string) error {
	var before RootReach
	for _, r := range m.done.Reached {
		before.Blocks, before.Bytes = before.Blocks+r.Blocks, before.Bytes+r.Bytes
	}
	err := m.drain()
	for err == nil && m.overflow {
		m.overflow = false
		err = m.rescan()
	}
	m.done.Reached = append(m.done.Reached, RootReach{
		Name: name, Type: kind, Blocks: m.blocks - before.Blocks, Bytes: m.bytes - before.Bytes,
	})
	return err
}

// drain scans what is on the stack, and what that leads to.
func (m *marker) drain() error {
	for len(m.stack) > 0 {
		last := len(m.stack) - 1
		e := m.stack[last]
		m.stack = m.stack[:last]
		if e.n > scanStep {
			m.stack = append(m.stack, extent{e.off + scanStep, e.n - scanStep})
			e.n = scanStep
		}
		m.scan(e)
		if m.done.Scanned-m.reported >= progressStep {
			if err := m.report(); err != nil {
				return err
			}
		}
	}
	return m.ctx.Err()
}

// scan marks what the words of an extent lead to.
func (m *marker) scan(e extent) {
	memory, data := m.a.memory, m.a.first<<layout.GranuleShift
	first, size := m.a.address(data), memory.Size()-data
	for _, v := range mem.Slice[uint64](memory, e.off, e.n/8) {
		if v-first < size {
			m.mark(v - first + data)
		} else if m.opts.Offsets && v-data < size {
			m.mark(v)
		}
	}
	m.done.Scanned += e.n
}

// rescan scans the marked blocks of the spans that met a full stack.
func (m *marker) rescan() error {
	for i := range m.spans {
		if s := &m.spans[i]; s.pending {
			s.pending = false
			if err := m.rescanSpan(s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *marker) rescanSpan(s *marked) error {
	if s.kind != layout.KindSlab {
		for at := s; at != nil; at = m.nextChunk(at) {
			if err := m.scanNow(m.content(at)); err != nil {
				return err
			}
		}
		return nil
	}
	class := &layout.Classes[s.class]
	for w := range (uint64(class.Blocks) + 63) / 64 {
		for rest := m.marks[s.bits+w]; rest != 0; rest &= rest - 1 {
			if err := m.scanNow(extent{m.a.blockAddress(s, w, rest) - m.a.address(0), uint64(class.Size)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// scanNow scans an extent and what it leads to. The stack is empty before and afterwards.
func (m *marker) scanNow(e extent) error {
	m.stack = append(m.stack, e)
	return m.drain()
}

// report tells how far it is and asks whether to go on.
func (m *marker) report() error {
	m.reported = m.done.Scanned
	if m.opts.Progress != nil {
		m.opts.Progress(CollectProgress{Scanned: m.done.Scanned, Blocks: m.blocks, InUse: m.inUse})
	}
	return m.ctx.Err()
}
