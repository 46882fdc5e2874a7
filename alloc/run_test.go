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
		a := &Allocator{busy: make([]mem.Word, words), origin: r.Uint64N(8)}
		density := r.IntN(5) // of zeros: the more, the longer the runs
		for i := range a.busy {
			word := r.Uint64()
			for range density {
				word &= r.Uint64()
			}
			a.busy[i].Set(word)
		}
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
