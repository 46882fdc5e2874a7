package alloc

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/invariants"
	"github.com/shmheap/shmheap/internal/layout"
)

// mustSpans walks the spans, which lie side by side from the begin of the region to its end, and sums them up by kind.
func mustSpans(t testing.TB, spans func(func(Span) bool), size uint64) map[SpanKind]Span {
	t.Helper()
	sums := make(map[SpanKind]Span)
	at := uint64(0)
	for s := range spans {
		if s.Offset != at || s.Bytes == 0 || s.Bytes%layout.GranuleSize != 0 || s.Committed > s.Bytes ||
			s.UsedBytes > s.Bytes || s.Used > s.Blocks || s.Blocks*s.BlockSize > s.Bytes {
			t.Fatalf("at %#x: %+v", at, s)
		}
		at += s.Bytes
		sum := sums[s.Kind]
		sum.Bytes, sum.Committed, sum.UsedBytes = sum.Bytes+s.Bytes, sum.Committed+s.Committed, sum.UsedBytes+s.UsedBytes
		sum.Blocks, sum.Used = sum.Blocks+s.Blocks, sum.Used+s.Used
		sums[s.Kind] = sum
	}
	if at != size {
		t.Fatalf("the spans end at %#x, the region at %#x", at, size)
	}
	return sums
}

// TestSpans: spans and Stats count the same.
func TestSpans(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, m := r.join(t)
	c, other := mustCache(t, a), mustCache(t, a)
	for i := range uint64(3000) {
		off := mustAlloc(t, c, 16+i%3000)
		if i%3 == 0 {
			mustFree(t, other, off)
		}
	}
	large := mustAlloc(t, c, 300_000)
	leaveArenas(c)
	s, err := a.Stats()
	if err != nil {
		t.Fatal(err)
	}
	sums := mustSpans(t, a.Spans, 64<<20)
	slabs, larges, arenas, free := sums[SpanSlab], sums[SpanLarge], sums[SpanArena], sums[SpanFree]
	if slabs.Used+larges.Used != s.Live || slabs.UsedBytes+larges.UsedBytes != s.LiveBytes || slabs.Bytes != s.SlabBytes ||
		slabs.Blocks-slabs.Used != s.FreeBlocks || larges.Bytes != s.LargeBytes || larges.Used != s.Large {
		t.Errorf("%+v\n%+v", sums, s)
	}
	if arenas.Bytes+sums[SpanChunk].Bytes != s.ArenaBytes || free.Bytes>>layout.GranuleShift != s.FreeGranules ||
		free.Committed>>layout.GranuleShift != s.Retained || sums[SpanTables].Bytes != r.geometry.Sections.Data || sums[SpanDamaged].Bytes != 0 {
		t.Errorf("%+v\n%+v", sums, s)
	}
	for span := range a.Spans {
		if span.Kind == SpanLarge && (span.Offset != large || span.Owner != m.id || span.Private) {
			t.Errorf("large block %#x of %v: %+v", large, m.id, span)
		}
	}
}

// TestLocate: every byte of a block leads to it, and what is not in a block says so.
func TestLocate(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, m := r.join(t)
	c, other := mustCache(t, a), mustCache(t, a)
	x, freed, elsewhere, large := mustAlloc(t, c, 100), mustAlloc(t, c, 100), mustAlloc(t, c, 100), mustAlloc(t, c, 200_000)
	mustFree(t, c, freed)
	mustFree(t, other, elsewhere)
	private, err := c.allocPrivate(50)
	if err != nil {
		t.Fatal(err)
	}
	size, back := uint64(112), BlockFree
	if invariants.Enabled { // careful caches guard the end of a block, and keep what was freed for a while
		size, back = 128, BlockFreed
	}
	for _, x := range []struct {
		off, begin, size uint64
		state            BlockState
	}{
		{x, x, size, BlockUsed}, {x + 99, x, size, BlockUsed}, {x + size - 1, x, size, BlockUsed}, {freed + 5, freed, size, back},
		{elsewhere, elsewhere, size, BlockFreed}, {private + 1, private, 64, BlockPrivate},
		{large + 150_000, large, 4 << 16, BlockUsed}, {5, 5, 0, BlockNone}, {60 << 20, 60 << 20, 0, BlockNone},
	} {
		p, err := a.Locate(x.off)
		if err != nil || p.Offset != x.begin || p.Size != x.size || p.State != x.state {
			t.Errorf("%#x: %+v, %v, want %+v", x.off, p, err, x)
		}
		if p.Size != 0 && p.Span.Owner != m.id {
			t.Errorf("%#x belongs to %v", x.off, p.Span.Owner)
		}
	}
	if _, err := a.Locate(64 << 20); !errors.Is(err, ErrNotInHeap) {
		t.Errorf("behind the end: %v", err)
	}
	odd := mustAlloc(t, c, 3000)
	if p, err := a.Locate(odd - odd%layout.GranuleSize + layout.GranuleSize - 1); err != nil || p.State != BlockNone || p.Span.Kind != SpanSlab {
		t.Errorf("the rest of a slab: %+v, %v", p, err)
	}
}

// TestInspector: what a process that only looks counts is what the peers count, and the dead stay as they are.
func TestInspector(t *testing.T) {
	o := &heap.Options{Dir: filepath.Join(t.TempDir(), "heaps"), Size: 16 << 20}
	h, err := heap.Create("a", o)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	a, err := Open(h)
	if err != nil {
		t.Fatal(err)
	}
	off := mustAlloc(t, mustCache(t, a), 100)
	v, err := heap.Look("a", o)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	i := Look(v)
	want, err1 := a.Stats()
	got, err2 := i.Stats()
	if err := errors.Join(err1, err2); err != nil || got.Live != want.Live || got.Slabs != want.Slabs || got.Committed != want.Committed {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	usage, err := i.Usage()
	if err != nil || len(usage) != 1 || usage[0].Peer != h.Peer() || usage[0].Blocks != 1 || !usage[0].Alive {
		t.Errorf("%+v, %v", usage, err)
	}
	if sums := mustSpans(t, i.Spans, h.Size()); sums[SpanSlab].Used != 1 {
		t.Errorf("%+v", sums)
	}
	if p, err := i.Locate(off); err != nil || p.State != BlockUsed || p.Span.Owner != h.Peer() {
		t.Errorf("%+v, %v", p, err)
	}
	if samples, err := i.Profile(); err != nil || len(samples) != 0 {
		t.Errorf("%+v, %v", samples, err)
	}
	for _, err := range []error{i.a.region.Commit(0, 1), i.a.region.Decommit(0, 1), i.a.region.ReleaseDead()} {
		if err == nil {
			t.Error("what is only looked at was changed")
		}
	}
	if _, err := i.a.region.Alone(); err == nil {
		t.Error("alone")
	}
}
