package alloc

import (
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/shmheap/shmheap/internal/layout"
)

// word allocates a block that serves as the nil word of exact operations.
func word(t *testing.T, c *Cache) uint64 {
	t.Helper()
	at := mustAlloc(t, c, 16)
	c.a.memory.Word(at).StoreRelease(0)
	return at
}

// TestSettleKeepsWhatOthersHave: recovery of a dead FreeFrom frees nothing that is somebody else's by
// then. The first peer dies behind its intent, the second frees the large block itself, and the third
// gets the same place.
func TestSettleKeepsWhatOthersHave(t *testing.T) {
	r := newGoRegion(t, 16<<20)
	survivor, _ := r.join(t)
	c := mustCache(t, survivor)
	at := word(t, c)
	if err := c.allocInto(at, 100_000); err != nil {
		t.Fatal(err)
	}
	off := r.memory.Word(at).Load() - survivor.address(0)
	dead, member := r.join(t)
	mustCache(t, dead).setIntent(off, layout.IntentFree, at)
	member.die()
	if err := c.freeFrom(at); err != nil {
		t.Fatal(err)
	}
	if again := mustAlloc(t, c, 100_000); again != off {
		t.Fatalf("the block is at %#x now, want %#x", again, off)
	}
	if _, err := survivor.Recover(); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, survivor)
	mustCount(t, survivor, 2)
}

// TestSettleKeepsALinkedBlock: a block whose word was changed after its owner died is kept.
func TestSettleKeepsALinkedBlock(t *testing.T) {
	r := newGoRegion(t, 16<<20)
	survivor, _ := r.join(t)
	at := word(t, mustCache(t, survivor))
	dead, member := r.join(t)
	c := mustCache(t, dead)
	if err := c.allocInto(at, 100); err != nil {
		t.Fatal(err)
	}
	c.setIntent(r.memory.Word(at).Load()-dead.address(0), layout.IntentAlloc, at)
	member.die()
	r.memory.Word(at).StoreRelease(survivor.address(at)) // pushed in front of it
	if _, err := survivor.Recover(); err != nil {
		t.Fatal(err)
	}
	mustCount(t, survivor, 2)
}

// TestAllocIntoIsExclusive: of two that allocate into one word one is told that it is taken, and leaks
// nothing.
func TestAllocIntoIsExclusive(t *testing.T) {
	r := newGoRegion(t, 16<<20)
	a, _ := r.join(t)
	at := word(t, mustCache(t, a))
	caches := []*Cache{mustCache(t, a), mustCache(t, a)}
	for _, size := range []uint64{64, 100_000} {
		for range 500 {
			errs := make([]error, len(caches))
			var wg sync.WaitGroup
			for i, c := range caches {
				wg.Go(func() { errs[i] = c.allocInto(at, size) })
			}
			wg.Wait()
			if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), ErrOccupied) {
				t.Fatalf("both: %v, %v", errs[0], errs[1])
			}
			if err := caches[0].freeFrom(at); err != nil {
				t.Fatal(err)
			}
			mustCount(t, a, 1)
		}
	}
	mustCheck(t, a)
}

// TestFreeFromAdopts: freeing from a slab that nobody owns takes it over, so that the free is exact.
func TestFreeFromAdopts(t *testing.T) {
	r := newGoRegion(t, 16<<20)
	a, _ := r.join(t)
	keeper, c := mustCache(t, a), mustCache(t, a)
	at := word(t, keeper)
	if err := c.allocInto(at, 100); err != nil {
		t.Fatal(err)
	}
	g := (r.memory.Word(at).Load() - a.address(0)) >> layout.GranuleShift
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := keeper.freeFrom(at); err != nil {
		t.Fatal(err)
	}
	if s := layout.State(a.states[g].Load()); s.Cache() != keeper.id {
		t.Errorf("the slab's state is %#x", uint64(s))
	}
	mustCheck(t, a)
	mustCount(t, a, 1)
}

// TestDamagedSpans: a slab of nobody or a large block whose run reaches into its neighbours is refused.
func TestDamagedSpans(t *testing.T) {
	r := newGoRegion(t, 16<<20)
	a, _ := r.join(t)
	c := mustCache(t, a)
	large, neighbour := mustAlloc(t, c, 200_000), mustAlloc(t, c, 200_000)
	r.memory.Bytes(neighbour, 1)[0] = 7
	g := large >> layout.GranuleShift
	a.states[g].Swap(uint64(layout.MakeState(layout.KindLarge, 0, 0, 7)))
	if err := c.free(large); !errors.Is(err, ErrCorrupt) || r.memory.Bytes(neighbour, 1)[0] != 7 {
		t.Errorf("free of a block with a wrong length: %v", err)
	}

	const class = layout.NumClasses - 1
	last := a.frontier() - 1
	a.states[last].Swap(uint64(layout.MakeState(layout.KindSlab, class, 0, 4)))
	a.hintWord(class, last).Or(1 << (last % 64))
	a.super.Orphans[class].StoreRelease(1)
	a.slab(last, layout.MakeState(layout.KindSlab, class, 0, 4)).local[0].StoreRelease(1 << 7)
	off, err := c.alloc(layout.MaxSmall)
	if err != nil || off+layout.MaxSmall > r.geometry.Size {
		t.Errorf("a block at %#x: %v", off, err)
	}
}

// TestDamagedRecord: one wild owner does not keep others from opening, working and recovering.
func TestDamagedRecord(t *testing.T) {
	r := newGoRegion(t, 16<<20)
	a, _ := r.join(t)
	victim, member := r.join(t)
	mustAlloc(t, mustCache(t, victim), 64)
	a.caches[len(a.caches)-1].Owner.StoreRelease(0xff)
	if err := r.commitAll(); err != nil {
		t.Fatal(err)
	}
	member.die()
	late, _ := r.join(t)
	if late.Recovered().Caches != 1 {
		t.Errorf("opening recovered %+v", late.Recovered())
	}
	if _, err := late.Recover(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Recover says %v", err)
	}
	if late.Check().Err() == nil {
		t.Error("Check finds nothing")
	}
}

// commitAll makes all cache records count.
func (r *goRegion) commitAll() error {
	m := member{goRegion: r}
	return m.Commit(r.geometry.Sections.Caches, uint64(r.geometry.MaxCaches+1)*layout.CacheSize)
}

// TestRoomBehindOthers: idle caches of the allocator give up empty slabs when room is short, and dead
// peers' cache records are used again.
func TestRoomBehindOthers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2)) // as many shards
	r := newGoRegion(t, 16<<20)
	a, _ := r.join(t)
	hoard := &a.shards.all[1]
	hoard.cache = mustCache(t, a)
	blocks := fill(t, hoard.cache, 64)
	c := mustCache(t, a)
	for _, off := range blocks {
		mustFree(t, c, off)
	}
	mustFree(t, c, mustAlloc(t, c, 1<<20))
	mustFree(t, c, mustAlloc(t, c, 16))
	mustCheck(t, a)

	records, member := r.join(t)
	for {
		if _, err := records.newCache(); errors.Is(err, ErrTooManyCaches) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	member.die()
	mustCache(t, a)
}

// TestStatsBehindAClaim: a claimed head does not hide what lies in the run that it has not got.
func TestStatsBehindAClaim(t *testing.T) {
	r := newGoRegion(t, 16<<20)
	a, _ := r.join(t)
	c := mustCache(t, a)
	first := mustAlloc(t, c, 64)
	mustAlloc(t, c, 100_000)
	mustFree(t, c, first)
	c.common().all[layout.ClassOf(64)].setAside()
	c.dropEmpties()
	a.states[first>>layout.GranuleShift].Swap(uint64(layout.MakeState(layout.KindClaimed, 0, c.id, 50)))
	mustCount(t, a, 1)
}
