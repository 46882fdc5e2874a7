package alloc

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/shmheap/shmheap/internal/invariants"
	"github.com/shmheap/shmheap/internal/layout"
)

// A buggy peer may write anything over the allocator's tables. Whatever is there, operations return an
// error or a block inside the data; they do not panic, hang or leave the memory. The memory is a Go
// slice here, so an access outside would be a panic.

// scribble overwrites words of the tables as the fuzzer's bytes say: 2 bytes choose a table and an
// index, the next 8 are the word.
func scribble(r *goRegion, script []byte) {
	s, n := r.geometry.Sections, r.geometry.Granules()
	first := r.geometry.FirstGranule()
	slabs := s.Slabs + first*layout.SlabSize
	tables := []struct{ off, stride, count uint64 }{
		{s.States + first*8, 8, n - first}, {s.Busy, 8, (n + 63) / 64}, {s.Hints, 8, layout.ChunkHintSize / 8},
		{s.Caches, 8, 8 * layout.CacheSize / 8}, {slabs, 8, 64 * layout.SlabSize / 8},
		{s.Fine + first*layout.FineSize, 8, 16 * layout.FineSize / 8}, {640, 128, 2}, {896, 8, layout.HintClasses},
		{s.Sites, 8, layout.SiteSize / 8},
		{1408, 128, 3},                                                                                       // limit, profile rate, pressure
		{s.Peers, 8, 4 * layout.PeerSize / 8},                                                                // quotas and counts too
		{slabs, layout.SlabSize, 256}, {slabs + 8, layout.SlabSize, 256}, {slabs + 16, layout.SlabSize, 256}, // of arenas and large blocks
	}
	for ; len(script) >= 10; script = script[10:] {
		t := tables[int(script[0])%len(tables)]
		at := t.off + uint64(script[1])%t.count*t.stride
		r.memory.Word(at).Swap(binary.LittleEndian.Uint64(script[2:10]))
	}
}

// exercise uses everything on a heap whose tables mean nothing any more.
func exercise(t *testing.T, r *goRegion, a *Allocator, c *Cache, blocks []uint64) {
	for _, off := range blocks {
		c.free(off)
		a.usableSize(off)
	}
	for i := range uint64(300) {
		off, err := c.alloc(i * i)
		if err != nil {
			continue
		}
		if first := r.geometry.Sections.Data; off < first || off+max(i*i, 1) > r.geometry.Size {
			t.Fatalf("a block of %d bytes at %#x", i*i, off)
		}
		if i%2 == 0 {
			c.free(off)
		}
	}
	useArenas(a, c)
	mustSpans(t, a.Spans, r.geometry.Size)
	for off := uint64(0); off < r.geometry.Size; off += 60_000 {
		a.Locate(off)
	}
	useOthers(t, r, a, c)
	a.Recover()
	a.Collect(t.Context(), &CollectOptions{DryRun: true, Offsets: true})
	a.Collect(t.Context(), &CollectOptions{stackLimit: 1})
	a.Check()
	a.Stats()
	a.Usage()
	a.Profile()
	a.Trim()
	c.Close()
	a.Check()
}

// useOthers uses what a program uses less often.
func useOthers(t *testing.T, r *goRegion, a *Allocator, c *Cache) {
	word := r.geometry.Sections.Data + 64
	c.allocInto(word, 100)
	c.reallocInto(word, 1000)
	c.freeFrom(word)
	a.peerRecord().Quota.StoreRelease(8 << 20)
	careful, err := a.NewCacheOptions(&CacheOptions{Careful: true})
	if err != nil {
		careful = c
	}
	for _, size := range []uint64{0, 100, 1000, 20_000, 100_000} {
		for _, from := range []*Cache{c, careful} {
			for _, alloc := range []func(uint64) (uint64, error){
				from.alloc, from.allocPrivate, func(n uint64) (uint64, error) { return from.allocAligned(n, 256) },
			} {
				off, err := alloc(size)
				if err != nil {
					continue
				}
				if first := r.geometry.Sections.Data; off < first || off+max(size, 1) > r.geometry.Size {
					t.Fatalf("a block of %d bytes at %#x", size, off)
				}
				a.publish(off)
				off, _ = from.realloc(off, 2*size)
				from.free(off)
			}
		}
	}
	if careful != c {
		careful.Close()
	}
}

// useArenas makes arenas, and opens and frees what others left.
func useArenas(a *Allocator, c *Cache) {
	for _, s := range []Source{a, c} {
		if x, err := NewArena(s, nil); err == nil {
			for range 10 {
				x.Alloc(30_000)
			}
			x.Size()
			x.Reset()
			x.Alloc(100_000)
			x.Publish()
			x.Free()
		}
	}
	for g := a.first; g < a.first+64; g++ {
		if x, err := OpenArena(c, a.memory.Pointer(g<<layout.GranuleShift+1000)); err == nil {
			x.Size()
			x.Free()
		}
	}
}

// leaveArenas makes arenas of one and of several chunks, of which one is published.
func leaveArenas(s Source) {
	for i := range 2 {
		if x, err := NewArena(s, nil); err == nil {
			for range 5 * i {
				x.Alloc(30_000)
			}
			if i == 1 {
				x.Publish()
			}
		}
	}
}

func hostile(t *testing.T, script []byte) {
	lawless.Store(true)
	defer lawless.Store(false)
	r := newGoRegion(t, 16<<20)
	a, _ := r.join(t)
	dead, member := r.join(t)
	c := mustCache(t, a)
	var blocks []uint64
	for _, size := range []uint64{16, 64, 1000, 20_000, 100_000} {
		blocks = append(blocks, mustAlloc(t, c, size), mustAlloc(t, mustCache(t, dead), size))
	}
	a.super.ProfileRate.StoreRelease(5000) // some of what follows are samples
	for _, size := range []uint64{16, 1000, 200_000} {
		a.makeSite("program", 1)
		blocks = append(blocks, mustAlloc(t, c, size), mustAlloc(t, mustCache(t, dead), size))
	}
	leaveArenas(c)
	leaveArenas(dead)
	member.die()
	scribble(r, script)
	exercise(t, r, a, c, blocks)
}

func FuzzHostileTables(f *testing.F) {
	for table := range byte(14) {
		f.Add([]byte{table, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		f.Add([]byte{table, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	}
	f.Fuzz(hostile)
}

// TestHostileTables runs scripts that look like states, owners and bitmaps more often than chance
// would.
func TestHostileTables(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	rounds := 200
	if invariants.Enabled {
		rounds = 50 // careful caches take their time
	}
	for range rounds {
		var script []byte
		for range 1 + rng.IntN(20) {
			word := rng.Uint64() >> rng.IntN(64)
			if rng.IntN(2) == 0 {
				word = uint64(layout.MakeState(layout.Kind(rng.IntN(8)), rng.IntN(42), uint16(rng.IntN(10)), rng.Uint64N(1<<rng.IntN(32))))
			}
			script = append(script, byte(rng.Uint32()), byte(rng.Uint32()))
			script = binary.LittleEndian.AppendUint64(script, word)
		}

		hostile(t, script)
	}
}
