package alloc

import (
	"testing"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// TestStatsOfKinds: what each kind of block and span counts as, in Stats and in Usage.
func TestStatsOfKinds(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, m := r.join(t)
	c := mustCache(t, a)
	published, unpublished := makePrivate(t, c)
	var large, bytes uint64
	for _, off := range unpublished {
		_, usable, err := a.locateUsed(off)
		if err != nil {
			t.Fatal(err)
		}
		if bytes += usable; usable > layout.MaxSmall {
			large++
		}
	}
	leaveArenas(c)
	s, err := a.Stats()
	if err != nil || s.Private != uint64(len(unpublished)) || s.PrivateBytes != bytes || s.Published != uint64(len(published))-large/2 {
		t.Errorf("%d private blocks, %d of them large, and %d published ones: %+v, %v", len(unpublished), large, len(published), s, err)
	}
	if u := usageOf(t, a, m); u.Private != s.Private || s.Arenas != 2 || s.ArenasPublished != 1 || u.Arenas != 1 || u.ArenaBytes == 0 || u.ArenaBytes >= s.ArenaBytes {
		t.Errorf("an arena and a published one: %+v, %+v", s, u)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := a.Stats(); err != nil || s.Private != 0 || s.Published != 0 || s.Unowned != s.Slabs || s.Retained == 0 {
		t.Errorf("after Close: %+v, %v", s, err)
	}
	mustCount(t, a, uint64(len(published)))
}

// TestStatsOfBlocksBetween: blocks that were freed and that the owner has not taken back, samples, and what was set.
func TestStatsOfBlocksBetween(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, _ := r.join(t)
	a.super.Limit.StoreRelease(1 << 30)
	c, careful, other := mustCache(t, a), mustCareful(t, a), mustCache(t, a)
	x, y, z := mustAlloc(t, c, 100), mustAlloc(t, careful, 100), mustAlloc(t, c, 100)
	mustFree(t, other, x)
	mustFree(t, careful, y)
	mustProfile(t, a, 1)
	for range 5 {
		mustAlloc(t, other, 1000)
		mustAlloc(t, other, 100_000)
	}
	s, err := a.Stats()
	if err != nil || s.Uncollected != 2 || s.Samples != 10 || s.Limit != 1<<30 || s.ProfileRate != 1 {
		t.Errorf("%+v: %v", s, err)
	}
	mustFree(t, c, z)
	mustCount(t, a, 10)
}

// TestCheckOwnersAndSites: peers and sites that cannot be are found, as are published blocks that do not exist.
func TestCheckOwnersAndSites(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, m := r.join(t)
	c := mustCache(t, a)
	large := mustAlloc(t, c, 100_000) >> layout.GranuleShift
	private, err := c.allocPrivate(20_000)
	if err != nil {
		t.Fatal(err)
	}
	mustProfile(t, a, 1)
	sampled := mustAlloc(t, c, 1000) >> layout.GranuleShift
	mustCheck(t, a)
	slab := a.slab(private>>layout.GranuleShift, layout.State(a.states[private>>layout.GranuleShift].Load()))
	site := &a.samples(sampled).Blocks[0]
	for name, c := range map[string]struct {
		word *mem.Word
		bad  uint64
	}{
		"nobody":                   {&a.large(large).Charged, 0},
		"a peer to come":           {&a.large(large).Charged, uint64(m.id) + 1},
		"a slot that is not":       {&a.large(large).Charged, uint64(heap.MakePeerID(1<<15, 1))},
		"a number":                 {&a.large(large).Sample, 5},
		"a site of a large block":  {&a.large(large).Sample, layout.SampleLarge | (a.siteCount + 1)},
		"a site of a small block":  {site, a.siteCount + 1},
		"a published block beyond": {&slab.published[len(slab.published)-1], 1 << 63},
	} {
		was := c.word.Swap(c.bad)
		if report := a.Check(); len(report.Problems) != 1 {
			t.Errorf("%s: %q", name, report.Problems)
		}
		c.word.Swap(was)
		mustCheck(t, a)
	}
}
