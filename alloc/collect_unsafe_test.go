package alloc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/invariants"
	"github.com/shmheap/shmheap/internal/layout"
	"pgregory.net/rapid"
)

// graph is a heap full of blocks that lead to each other, and what can be reached.
type graph struct {
	region *goRegion
	a      *Allocator
	nodes  []node
	roots  []int
	extra  []uint64
}

// node is a block or an arena.
type node struct {
	off, size uint64 // where words may be written
	isArena   bool
	private   bool
	edges     []int
}

func (n *node) leadsTo(a *Allocator, t *rapid.T, offsets bool) uint64 {
	off := n.off
	if n.size > 16 && rapid.Bool().Draw(t, "interior") {
		off += rapid.Uint64Range(0, n.size-1).Draw(t, "inside")
	}
	if offsets && rapid.Bool().Draw(t, "as offset") {
		return off
	}
	return a.address(off)
}

// addNode allocates a block, or an arena, whose words are zero.
func (g *graph) addNode(t *rapid.T, caches []*Cache) {
	c := rapid.SampledFrom(caches).Draw(t, "cache")
	n := node{size: rapid.SampledFrom([]uint64{16, 16, 48, 112, 1000, 20_000, 100_000, 200_000}).Draw(t, "size")}
	var err error
	switch kind := rapid.IntRange(0, 9).Draw(t, "kind"); kind {
	case 0, 1:
		n.isArena, n.private = true, kind == 0
		var r *Arena
		if r, err = NewArena(c, nil); err == nil {
			for range rapid.IntRange(1, 20).Draw(t, "blocks") {
				if p, e := r.AllocZeroed(n.size); e == nil {
					n.off, _ = g.a.memory.Offset(p)
				}
			}
			if !n.private {
				err = r.Publish()
			}
		}
		if n.off == 0 {
			t.Skip("no space")
		}
	case 2:
		n.private = true
		n.off, err = c.allocPrivate(n.size)
	default:
		n.off, err = c.alloc(n.size)
	}
	if errors.Is(err, ErrNoSpace) {
		t.Skip("no space")
	}
	if err != nil {
		t.Fatal(err)
	}
	clear(g.region.memory.Bytes(n.off, n.size))
	g.nodes = append(g.nodes, n)
}

// connect writes references into blocks and makes roots.
func (g *graph) connect(t *rapid.T, offsets bool) {
	any := rapid.IntRange(0, len(g.nodes)-1)
	for i := range g.nodes {
		from := &g.nodes[i]
		for range rapid.IntRange(0, 3).Draw(t, "edges") {
			to := any.Draw(t, "to")
			word := g.region.memory.Word(from.off + rapid.Uint64Range(0, from.size/8-1).Draw(t, "word")*8)
			if word.Load() == 0 {
				word.StoreRelease(g.nodes[to].leadsTo(g.a, t, offsets))
				from.edges = append(from.edges, to)
			}
		}
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "roots") {
		to := any.Draw(t, "root")
		off := g.nodes[to].leadsTo(g.a, t, false) - g.a.address(0)
		g.roots = append(g.roots, to)
		if i%2 == 0 {
			g.region.roots = append(g.region.roots, heap.Root{Name: fmt.Sprint("root ", i), Offset: off, TypeName: "node"})
		} else {
			g.extra = append(g.extra, off)
		}
	}
}

// reachable returns what Collect must keep.
func (g *graph) reachable() []bool {
	kept := make([]bool, len(g.nodes))
	var visit func(int)
	visit = func(i int) {
		if kept[i] {
			return
		}
		kept[i] = true
		for _, to := range g.nodes[i].edges {
			visit(to)
		}
	}
	for i, n := range g.nodes {
		if n.private {
			visit(i)
		}
	}
	for _, i := range g.roots {
		visit(i)
	}
	return kept
}

// TestCollectGraphs: of random graphs exactly what is unreachable is freed, a dry run says the same before, and a second
// run finds nothing. The stack of the marker is as small as can be in most.
func TestCollectGraphs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := graph{region: newGoRegion(t, 24<<20)}
		g.a, _ = g.region.join(t)
		caches := []*Cache{mustCache(t, g.a), mustCache(t, g.a)}
		for range rapid.IntRange(1, 60).Draw(t, "nodes") {
			g.addNode(t, caches)
		}
		offsets := rapid.Bool().Draw(t, "offsets")
		g.connect(t, offsets)
		if !slices.ContainsFunc(g.nodes, func(n node) bool { return n.private }) && rapid.Bool().Draw(t, "close") {
			if err := caches[0].Close(); err != nil { // its slabs are nobody's then
				t.Fatal(err)
			}
		}
		o := CollectOptions{DryRun: true, Offsets: offsets, Roots: g.extra}
		o.stackLimit = rapid.SampledFrom([]int{0, 1, 1, 2, 7}).Draw(t, "stack")
		g.collect(t, o)
	})
}

func (g *graph) collect(t *rapid.T, o CollectOptions) {
	kept := g.reachable()
	leaked := make(map[uint64]bool)
	o.Visit = func(l Leak) { leaked[l.Address-g.a.address(0)] = true }
	dry, err := g.a.Collect(t.Context(), &o)
	if err != nil {
		t.Fatal(err)
	}
	g.compare(t, leaked, kept)
	o.DryRun = false
	wet, err := g.a.Collect(t.Context(), &o)
	if err != nil || wet.Blocks != dry.Blocks || !slices.Equal(wet.Leaks, dry.Leaks) || !slices.Equal(wet.Reached, dry.Reached) {
		t.Fatalf("the dry run says %+v, the other %+v: %v", dry, wet, err)
	}
	if again, err := g.a.Collect(t.Context(), &o); err != nil || again.Blocks != 0 {
		t.Fatalf("a second run finds %+v: %v", again, err)
	}
	mustCheck(t, g.a)
	live := uint64(0)
	for i, n := range g.nodes {
		if kept[i] && !n.isArena {
			live++
		}
		if n.isArena {
			if _, _, err := g.a.arenaOf(n.off); (err == nil) != kept[i] {
				t.Fatalf("arena at %#x: kept %v, %v", n.off, kept[i], err)
			}
		}
	}
	mustCount(t, g.a, live)
}

// compare wants the unreachable nodes and no others to be leaked.
func (g *graph) compare(t *rapid.T, leaked map[uint64]bool, kept []bool) {
	count := 0
	for i, n := range g.nodes {
		off := n.off
		if n.isArena {
			head, _, err := g.a.arenaOf(off)
			if err != nil {
				t.Fatal(err)
			}
			off = head << layout.GranuleShift
		}
		if leaked[off] == kept[i] {
			t.Fatalf("node %d at %#x: reachable %v, listed as a leak %v", i, off, kept[i], leaked[off])
		}
		if !kept[i] {
			count++
		}
	}
	if count != len(leaked) {
		t.Fatalf("%d leaks are listed, want %d", len(leaked), count)
	}
}

// leakSome allocates a list that a root leads to and blocks that nothing leads to.
func leakSome(t *testing.T, r *goRegion, a *Allocator) (kept, leaked uint64) {
	t.Helper()
	c := mustCache(t, a)
	next := uint64(0)
	for range 1000 {
		off := mustAlloc(t, c, 48)
		clear(r.memory.Bytes(off, 48))
		r.memory.Word(off).StoreRelease(next)
		next = a.address(off)
		for _, size := range []uint64{48, 1000} {
			clear(r.memory.Bytes(mustAlloc(t, c, size), size))
		}
	}
	mustAlloc(t, c, 1<<20)
	r.roots = []heap.Root{{Name: "list", TypeName: "node", Offset: next - a.address(0)}}
	return 1000, 2001
}

// TestCollectReports: leaks by size, and what each root reaches.
func TestCollectReports(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, _ := r.join(t)
	kept, leaked := leakSome(t, r, a)
	done, err := a.Collect(t.Context(), &CollectOptions{DryRun: true})
	if err != nil || done.Blocks != leaked || len(done.Leaks) != 3 {
		t.Fatalf("%+v: %v", done, err)
	}
	small := uint64(48)
	if invariants.Enabled {
		small += minGuard
	}
	want := []LeakGroup{
		{Size: 1 << 20, Blocks: 1, Bytes: 1 << 20},
		{Size: 1024, Blocks: 1000, Bytes: 1024_000},
		{Size: small, Blocks: 1000, Bytes: 1000 * small},
	}
	if !slices.Equal(done.Leaks, want) || done.Reached[0] != (RootReach{"list", "node", kept, small * kept}) {
		t.Errorf("%+v", done)
	}
	mustCount(t, a, kept+leaked)
}

// TestCollectGivesMemoryBack: what is empty afterwards and nobody's is free.
func TestCollectGivesMemoryBack(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, _ := r.join(t)
	c := mustCache(t, a)
	for range 10_000 {
		mustAlloc(t, c, 1000)
	}
	mustAlloc(t, c, 5<<20)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if done, err := a.Collect(t.Context(), nil); err != nil || done.Blocks != 10_001 {
		t.Fatalf("%+v: %v", done, err)
	}
	if s, err := a.Stats(); err != nil || s.Live != 0 || s.Slabs != 0 {
		t.Errorf("%+v: %v", s, err)
	}
	mustCheck(t, a)
}

// TestCollectRefuses: with others attached, with a context that has ended, with damage. Nothing is freed then.
func TestCollectRefuses(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, _ := r.join(t)
	kept, leaked := leakSome(t, r, a)
	_, other := r.join(t)
	if _, err := a.Collect(t.Context(), nil); !errors.Is(err, heap.ErrNotAlone) {
		t.Errorf("with a peer: %v", err)
	}
	other.die()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Collect(ended, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	g := a.first
	for layout.State(a.states[g].Load()).Kind() != layout.KindLarge {
		g++
	}
	sound := a.states[g].Swap(uint64(layout.MakeState(layout.KindLarge, 0, 0, 1)))
	tail := a.states[g+1].Swap(uint64(layout.MakeState(layout.KindLarge, 0, 0, 1<<20)))
	if _, err := a.Collect(t.Context(), nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("with a damaged state: %v", err)
	}
	a.states[g].Swap(sound)
	a.states[g+1].Swap(tail)
	mustCheck(t, a)
	mustCount(t, a, kept+leaked)
	if done, err := a.Collect(t.Context(), nil); err != nil || done.Blocks != leaked {
		t.Errorf("%+v: %v", done, err)
	}
}

// TestCollectIdleCaches: caches that are open go on with the blocks that were freed from their slabs.
func TestCollectIdleCaches(t *testing.T) {
	r := newGoRegion(t, 16<<20)
	a, _ := r.join(t)
	c := mustCache(t, a)
	for range 20 {
		for range 5000 {
			mustAlloc(t, c, 1000)
		}
		if done, err := a.Collect(t.Context(), nil); err != nil || done.Blocks != 5000 {
			t.Fatalf("%+v: %v", done, err)
		}
		mustCheck(t, a)
	}
	mustCount(t, a, 0)
}

// TestCollectNamesSites: leaks of which the profile has a sample say where they were allocated.
func TestCollectNamesSites(t *testing.T) {
	r := newGoRegion(t, 16<<20)
	a, _ := r.join(t)
	if err := a.SetProfileRate(16); err != nil {
		t.Fatal(err)
	}
	c := mustCache(t, a)
	for range 100 {
		for _, size := range []uint64{1000, 100_000} {
			if _, err := c.Alloc(size); err != nil {
				break // the heap is full
			}
		}
	}
	named := make(map[bool]int) // by whether they are large
	done, err := a.Collect(t.Context(), &CollectOptions{Visit: func(l Leak) {
		if strings.Contains(l.Site, "TestCollectNamesSites") && strings.Contains(l.Site, "collect_unsafe_test.go:") {
			named[l.Size > layout.MaxSmall]++
		}
	}})
	if err != nil || named[false] < 50 || named[true] < 50 {
		t.Errorf("of %d leaks %v are named: %v, %+v", done.Blocks, named, err, done.Leaks)
	}
	mustCheck(t, a)
}

// TestArenaQuota: the chunks of an arena count for its owner.
func TestArenaQuota(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, _ := r.join(t)
	x := mustArena(t, a, nil)
	growArena(t, x)
	size, err := x.Size()
	if held := a.countHeld() << layout.GranuleShift; err != nil || held != size.Reserved {
		t.Errorf("the arena has %d bytes, %d count for its owner: %v", size.Reserved, held, err)
	}
	if err := x.Publish(); err != nil || a.countHeld() != 0 {
		t.Errorf("%d granules of a published arena count for somebody: %v", a.countHeld(), err)
	}
}
