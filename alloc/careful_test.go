package alloc

import (
	"errors"
	"testing"

	"github.com/shmheap/shmheap/internal/layout"
)

func mustCareful(t *testing.T, a *Allocator) *Cache {
	t.Helper()
	c, err := a.NewCacheOptions(&CacheOptions{Careful: true})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var carefulSizes = []uint64{0, 1, 16, 100, 1000, 20_000, layout.MaxSmall - minGuard}

// TestUseAfterFree: a write to a freed block is noticed when the block's turn comes, and the block is not
// handed out.
func TestUseAfterFree(t *testing.T) {
	for _, size := range carefulSizes {
		r := newGoRegion(t, 64<<20)
		a, _ := r.join(t)
		c := mustCareful(t, a)
		off := mustAlloc(t, c, size)
		mustFree(t, c, off)
		if err := c.free(off); !errors.Is(err, ErrDoubleFree) {
			t.Errorf("size %d: freed twice: %v", size, err)
		}
		r.memory.Bytes(off, size+8)[7] = 1
		var use *UseAfterFreeError
		for range 10_000 {
			got, err := c.alloc(size)
			if errors.As(err, &use) {
				break
			}
			if err != nil || got == off {
				t.Fatalf("size %d: block at %#x: %v", size, got, err)
			}
			mustFree(t, c, got)
		}
		if use == nil || !errors.Is(use, ErrMisuse) || use.Address != a.address(off) || use.Offset != 7 || use.Size < size+minGuard {
			t.Fatalf("size %d: %+v", size, use)
		}
		for range 5000 {
			got := mustAlloc(t, c, size)
			if got == off {
				t.Fatalf("size %d: the misused block was handed out", size)
			}
			mustFree(t, c, got)
		}
		mustCheck(t, a)
		mustCount(t, a, 1)
	}
}

// TestOverrun: a byte behind the end of a block is noticed when it is freed.
func TestOverrun(t *testing.T) {
	for _, size := range carefulSizes {
		r := newGoRegion(t, 64<<20)
		a, _ := r.join(t)
		c := mustCareful(t, a)
		off := mustAlloc(t, c, size)
		end := r.memory.Bytes(off+size, 1)
		was := end[0]
		end[0]++
		var overrun *OverrunError
		if err := c.free(off); !errors.As(err, &overrun) || *overrun != (OverrunError{Address: a.address(off), Size: size, Offset: size}) {
			t.Errorf("size %d: %v", size, err)
		}
		end[0] = was
		mustFree(t, c, off)
		mustCount(t, a, 0)
	}
}

// TestCarefulIsNotWrong: caches that are careful find nothing in blocks that are used well, whoever frees them, and
// slabs that come and go.
func TestCarefulIsNotWrong(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, _ := r.join(t)
	careful, other := mustCareful(t, a), mustCache(t, a)
	sources := []*Cache{careful, careful, other}
	for round := range 6 {
		var blocks []uint64
		for i := range 3000 {
			size := carefulSizes[i%len(carefulSizes)] * uint64(1+round%2) / 2
			off := mustAlloc(t, sources[i%3], size)
			all := r.memory.Bytes(off, size)
			for j := range all {
				all[j] = byte(i)
			}
			blocks = append(blocks, off)
		}
		for i, off := range blocks {
			mustFree(t, sources[(i+round)%3], off)
		}
		careful.dropEmpties()
		mustCheck(t, a)
		mustCount(t, a, 0)
	}
	for _, size := range carefulSizes {
		off, err := careful.realloc(mustAlloc(t, careful, size), size+7)
		if err != nil {
			t.Fatal(err)
		}
		clear(r.memory.Bytes(off, size+7))
		usable, err := careful.UsableSize(r.memory.Pointer(off))
		if err != nil || usable < size+7 {
			t.Fatalf("%d bytes of %d usable: %v", usable, size+7, err)
		}
		clear(r.memory.Bytes(off, usable))
		mustFree(t, careful, off)
	}
	if err := careful.Close(); err != nil {
		t.Fatal(err)
	}
	if err := careful.free(0); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	mustCheck(t, a)
}

// TestCarefulReallocInto: a block that reallocInto frees does not make Free take the short way to its neighbours.
func TestCarefulReallocInto(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, _ := r.join(t)
	c := mustCareful(t, a)
	at, moved, next := mustAlloc(t, c, 16), mustAlloc(t, c, 1000), mustAlloc(t, c, 1000)
	w := r.memory.Word(at)
	w.StoreRelease(a.address(moved))
	if err := c.reallocInto(at, 3000); err != nil || w.Load() == a.address(moved) {
		t.Fatalf("the word is %#x, the block was at %#x: %v", w.Load(), a.address(moved), err)
	}
	r.memory.Bytes(next+1000, 1)[0]++
	if err := c.Free(r.memory.Pointer(next)); !errors.Is(err, ErrMisuse) {
		t.Errorf("free of an overrun block: %v", err)
	}
}

// TestCarefulStaysCareful: blocks that have no guard do not open the short ways for those that have, in the careful
// cache or in others.
func TestCarefulStaysCareful(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, _ := r.join(t)
	c, idle := mustCareful(t, a), mustCache(t, a)
	word := mustAlloc(t, c, 64)
	r.memory.Word(word).StoreRelease(0)
	for _, size := range []uint64{100, 500, 100} {
		if err := c.allocInto(word, size); err != nil {
			t.Fatal(err)
		}
		if err := c.reallocInto(word, 10*size); err != nil {
			t.Fatal(err)
		}
		if err := c.freeFrom(word); err != nil {
			t.Fatal(err)
		}
	}
	for _, cache := range []*Cache{c, idle} {
		if cache.slots.used != 0 || *cache.slots.at(uintptr(r.memory.Pointer(word))) != (slot{}) {
			t.Error("the short way of Free finds slabs of the careful cache")
		}
	}
	for _, align := range []uint64{16, 64, 256} {
		if _, err := c.allocAligned(align, align); err != nil {
			t.Fatal(err)
		}
	}
	for size := range uint64(2000) {
		if c.shared.front(size).free != 0 {
			t.Fatalf("size %d: the short way of Alloc leads to a block", size)
		}
	}
	mustCheck(t, a)
}

// TestCarefulLooksEverywhere: what moves or frees a block by way of a word looks at its guard too, and changes nothing
// when that was written over.
func TestCarefulLooksEverywhere(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, _ := r.join(t)
	c := mustCareful(t, a)
	word, off := mustAlloc(t, c, 64), mustAlloc(t, c, 100)
	r.memory.Word(word).StoreRelease(a.address(off))
	r.memory.Bytes(off+100, 1)[0]++
	var overrun *OverrunError
	for name, op := range map[string]func() error{
		"FreeFrom":    func() error { return c.freeFrom(word) },
		"ReallocInto": func() error { return c.reallocInto(word, 1000) },
		"Realloc":     func() error { _, err := c.realloc(off, 1000); return err },
	} {
		if err := op(); !errors.As(err, &overrun) || overrun.Offset != 100 {
			t.Errorf("%s: %v", name, err)
		}
		if r.memory.Word(word).Load() != a.address(off) {
			t.Errorf("%s changed the word", name)
		}
	}
	mustCount(t, a, 2)
	mustCheck(t, a)
}

// TestCarefulCounts: what a careful cache frees in its own slabs counts as such.
func TestCarefulCounts(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, m := r.join(t)
	c := mustCareful(t, a)
	for range 1000 {
		mustFree(t, c, mustAlloc(t, c, 50))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if u := usageOf(t, a, m); u.Allocs != 1000 || u.LocalFrees != 1000 || u.RemoteFrees != 0 {
		t.Errorf("%+v", u)
	}
}
