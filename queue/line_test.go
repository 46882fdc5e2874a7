package queue

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shmheap/shmheap/internal/mem"
)

const (
	lineFirst = 4096
	lineLast  = 1 << 30
)

// lineSet is what lines are moved from and to. Slots begin a line.
type lineSet struct {
	slots   []mem.Word
	offsets []uint64
}

func newLineSet(slots, offsets int) lineSet {
	return lineSet{mem.Slice[mem.Word](mem.Over(make([]byte, 8*slots)), 0, uint64(slots)), make([]uint64, offsets)}
}

func (s lineSet) clone() lineSet {
	c := newLineSet(len(s.slots), 0)
	for i := range s.slots {
		c.slots[i].Publish(s.slots[i].Load())
	}
	c.offsets = slices.Clone(s.offsets)
	return c
}

// sameLines fails the test unless two sets hold the same in the slots, and offsets up to n.
func sameLines(t *testing.T, got, want lineSet, n int) {
	t.Helper()
	for i := range got.slots {
		if g, w := got.slots[i].Load(), want.slots[i].Load(); g != w {
			t.Fatalf("slot %d is %#x, want %#x", i, g, w)
		}
	}
	if !slices.Equal(got.offsets[:n], want.offsets[:n]) {
		t.Fatalf("offsets are %#x, want %#x", got.offsets[:n], want.offsets[:n])
	}
}

// wrongOffsets are no elements of a heap from lineFirst to lineFirst+lineLast.
var wrongOffsets = []uint64{
	0, lineFirst - 8, lineFirst + 1, lineFirst + 4, lineFirst + lineLast + 8, 1 << 42, 1 << 43, 1 << 46, 1 << 62, 1 << 63, 1<<64 - 8,
	lineFirst + lineLast + 1<<32, 1<<63 + lineFirst, 1<<64 - 1,
}

func anyOffset(r *rand.Rand) uint64 {
	switch r.IntN(16) {
	case 0:
		return lineFirst
	case 1:
		return lineFirst + lineLast
	}
	return lineFirst + r.Uint64N(lineLast/8+1)*8
}

// TestFillLines: both bodies push the same, which is every line before one with something that is no offset.
func TestFillLines(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 20000 {
		s := newLineSet(r.IntN(80), r.IntN(80))
		for i := range s.offsets {
			s.offsets[i] = anyOffset(r)
		}
		lines := min(len(s.slots), len(s.offsets)) / lineSlots
		if len(s.offsets) > 0 && round%2 == 1 {
			at := r.IntN(len(s.offsets))
			s.offsets[at] = wrongOffsets[round/2%len(wrongOffsets)]
			lines = min(lines, at/lineSlots)
		}
		full, other := emptyOf(r.Uint64())|slotFull, s.clone()
		n := fillLines(s.slots, s.offsets, full, lineFirst, lineLast)
		if m := fillLinesGo(other.slots, other.offsets, full, lineFirst, lineLast); n != lines || m != lines {
			t.Fatalf("%d and %d lines, want %d", n, m, lines)
		}
		sameLines(t, s, other, len(s.offsets))
		for i := range n * lineSlots {
			if got := s.slots[i].Load(); got != full|s.offsets[i]/Unit {
				t.Fatalf("slot %d is %#x for %#x", i, got, s.offsets[i])
			}
		}
	}
}

// wrongSlots changes a slot that can be popped into one that cannot.
var wrongSlots = []func(w uint64) uint64{
	func(w uint64) uint64 { return w &^ slotFull },
	func(w uint64) uint64 { return w ^ lapUnit },
	func(w uint64) uint64 { return w ^ 1<<62 },
	func(w uint64) uint64 { return w | 1<<byShift },
	func(w uint64) uint64 { return w &^ valueMask },
	func(w uint64) uint64 { return w&^valueMask | lineFirst/Unit - 1 },
	func(w uint64) uint64 { return w&^valueMask | (lineFirst+lineLast)/Unit + 1 },
	func(w uint64) uint64 { return w | valueMask },
	func(uint64) uint64 { return 0 },
	func(uint64) uint64 { return 1<<64 - 1 },
}

// TestTakeLines: both bodies pop the same, which is every line before one with a slot that cannot be popped.
func TestTakeLines(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for round := range 20000 {
		s := newLineSet(r.IntN(80), r.IntN(80))
		lap := r.Uint64()
		full, empty := emptyOf(lap)|slotFull, emptyOf(lap+1)
		want := make([]uint64, len(s.slots))
		for i := range s.slots {
			want[i] = anyOffset(r)
			s.slots[i].Publish(full | want[i]/Unit)
		}
		lines := min(len(s.slots), len(s.offsets)) / lineSlots
		if len(s.slots) > 0 && round%2 == 1 {
			at := r.IntN(len(s.slots))
			s.slots[at].Publish(wrongSlots[round/2%len(wrongSlots)](s.slots[at].Load()))
			lines = min(lines, at/lineSlots)
		}
		other := s.clone()
		n := takeLines(s.slots, s.offsets, full, empty, lineFirst, lineLast)
		if m := takeLinesGo(other.slots, other.offsets, full, empty, lineFirst, lineLast); n != lines || m != lines {
			t.Fatalf("%d and %d lines, want %d", n, m, lines)
		}
		sameLines(t, s, other, n*lineSlots)
		if !slices.Equal(s.offsets[:n*lineSlots], want[:n*lineSlots]) {
			t.Fatalf("popped %#x, want %#x", s.offsets[:n*lineSlots], want[:n*lineSlots])
		}
		for i := range n * lineSlots {
			if got := s.slots[i].Load(); got != empty {
				t.Fatalf("slot %d is %#x, want %#x", i, got, empty)
			}
		}
	}
}

func BenchmarkLines(b *testing.B) {
	for name, move := range map[string]func(s lineSet){
		"assembly": func(s lineSet) {
			fillLines(s.slots, s.offsets, slotFull, lineFirst, lineLast)
			takeLines(s.slots, s.offsets, slotFull, lapUnit, lineFirst, lineLast)
		},
		"go": func(s lineSet) {
			fillLinesGo(s.slots, s.offsets, slotFull, lineFirst, lineLast)
			takeLinesGo(s.slots, s.offsets, slotFull, lapUnit, lineFirst, lineLast)
		},
	} {
		b.Run(name, func(b *testing.B) {
			s := newLineSet(32, 32)
			for i := range s.offsets {
				s.offsets[i] = lineFirst + uint64(i)*Unit
			}
			for b.Loop() {
				move(s)
			}
		})
	}
}

// TestBatchLooksUp: a batch of the only producer sees within a few lines that the queue was closed, or that a consumer went
// to sleep, and then goes on one by one.
func TestBatchLooksUp(t *testing.T) {
	for _, bit := range []uint64{StateClosed, StatePopSleep} {
		m := newGoRegion(t, testSize).join()
		q := m.queue(t, &Options{Kind: SPSC, Capacity: 1024})
		p := mustProducer(t, q)
		batch := make([]uint64, 700)
		for i := range batch {
			batch[i] = q.element(i)
		}
		p.lookAhead()
		q.head.State.Or(bit) // behind the look that TryPushAll begins with
		if n := p.pushRun(batch); n != 0 {
			t.Errorf("%d elements were pushed without another look", n)
		}
	}
}
