package alloc

import (
	"math/rand/v2"
	"testing"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// TestFindRun compares the search for free granules with one that looks at each, over random bitmaps.
func TestFindRun(t *testing.T) {
	const words = 6
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		a := randomBusy(r, words)
		end := 1 + r.Uint64N(words*64)
		from := r.Uint64N(end)
		want := fit{1 + r.Uint64N(100), 1 << r.IntN(4)}
		head, ok := a.findRun(from, end, want)
		slow, found := a.findRunSlowly(from, end, want)
		if ok != found || head != slow {
			t.Fatalf("%+v in [%d, %d): %d %t, want %d %t", want, from, end, head, ok, slow, found)
		}
	}
}

// randomBusy makes a busy bitmap.
func randomBusy(r *rand.Rand, words int) *Allocator {
	a := &Allocator{busy: make([]mem.Word, words), origin: r.Uint64N(8)}
	density := r.IntN(5) // of zeros: the more, the longer the runs
	for i := range a.busy {
		word := r.Uint64()
		for range density {
			word &= r.Uint64()
		}
		a.busy[i].Set(word)
	}
	return a
}

// TestFindExact does the same with the search for a run that is no longer than wanted.
func TestFindExact(t *testing.T) {
	const words = 6
	r := rand.New(rand.NewPCG(1, 3))
	found := 0
	for range 20_000 {
		a := randomBusy(r, words)
		end := 1 + r.Uint64N(words*64)
		want := granules(1 + r.Uint64N(70))
		from, ok := a.findRun(r.Uint64N(end), end, want)
		if !ok {
			continue
		}
		head, ok := a.findExact(from, end, want)
		slow, exists := a.findExactlySlowly(from, end, want.n)
		if exists = exists && want.n > 1 && want.n < 64; ok != exists || ok && head != slow {
			t.Fatalf("%+v in [%d, %d): %d %t, want %d %t", want, from, end, head, ok, slow, exists)
		}
		if ok {
			found++
		}
	}
	if found < 1000 {
		t.Errorf("%d runs of the wanted length: nothing was tried", found)
	}
}

func (a *Allocator) findExactlySlowly(from, end, n uint64) (uint64, bool) {
	for head := from; head < end; head++ {
		length := uint64(0)
		for head+length < end && !a.isBusy(head+length) {
			length++
		}
		if length == n {
			return head, true
		}
		head += length
	}
	return 0, false
}

func (a *Allocator) findRunSlowly(from, end uint64, want fit) (uint64, bool) {
	for head := from; head+want.n <= end; head++ {
		free := a.isAligned(head, want.align)
		for g := head; free && g < head+want.n; g++ {
			free = !a.isBusy(g)
		}
		if free {
			return head, true
		}
	}
	return 0, false
}

// TestRecentRuns: what a cache has freed it takes again, latest first, unless somebody else has it or it has become a
// part of a longer run.
func TestRecentRuns(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, _ := r.join(t)
	c, err := a.newCache()
	if err != nil {
		t.Fatal(err)
	}
	var blocks [8]uint64
	for i := range blocks {
		blocks[i] = mustLarge(t, c, 3)
	}
	free := func(i int) {
		t.Helper()
		if err := c.freeAny(blocks[i]); err != nil {
			t.Fatal(err)
		}
	}
	free(1)
	free(5)
	if got := mustLarge(t, c, 3); got != blocks[5] {
		t.Errorf("a block at %#x, want that which was freed last, at %#x", got, blocks[5])
	}
	free(2) // a neighbour of 1
	if got := mustLarge(t, c, 3); got != blocks[1] {
		t.Errorf("a block at %#x, want the lower half of what is free at %#x, as neither half was a run of its own", got, blocks[1])
	}
	free(6)
	other, err := a.newCache()
	if err != nil {
		t.Fatal(err)
	}
	taken := map[uint64]bool{mustLarge(t, other, 3): true, mustLarge(t, other, 3): true}
	if got := mustLarge(t, c, 3); !taken[blocks[6]] || taken[got] {
		t.Errorf("a block at %#x; the other cache took %v", got, taken)
	}
	mustCheck(t, a)
}

// mustLarge allocates a large block of n granules.
func mustLarge(t *testing.T, c *Cache, n uint64) uint64 {
	t.Helper()
	off, err := c.alloc(n << layout.GranuleShift)
	if err != nil {
		t.Fatal(err)
	}
	return off
}
