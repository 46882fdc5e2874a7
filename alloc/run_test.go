package alloc

import (
	"math/rand/v2"
	"testing"

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
