package mem_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shmheap/shmheap/internal/mem"
)

func TestContainsRefusesOverflow(t *testing.T) {
	m := mem.Over(make([]byte, 4096))
	for _, c := range []struct {
		off, n uint64
		want   bool
	}{
		{0, 4096, true}, {4096, 0, true}, {4095, 1, true}, {1, 4096, false}, {4097, 0, false},
		{^uint64(0), 2, false}, {8, ^uint64(0), false},
	} {
		if got := m.Contains(c.off, c.n); got != c.want {
			t.Errorf("Contains(%#x, %#x) = %v, want %v", c.off, c.n, got, c.want)
		}
	}
}

func TestViewAndSlicePanicOutside(t *testing.T) {
	m := mem.Over(make([]byte, 64))
	for name, f := range map[string]func(){
		"view past the end":    func() { mem.View[uint64](m, 60) },
		"view misaligned":      func() { mem.View[uint64](m, 4) },
		"slice past the end":   func() { mem.Slice[uint64](m, 8, 8) },
		"slice that overflows": func() { mem.Slice[uint64](m, 8, 1<<61) },
		"pointer at the end":   func() { m.Pointer(64) },
		"word past the end":    func() { m.Word(64) },
		"word of an empty one": func() { mem.Memory{}.Word(0) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}

func TestOffsetIsTheInverseOfPointer(t *testing.T) {
	m := mem.Over(make([]byte, 64))
	if off, ok := m.Offset(m.Pointer(40)); off != 40 || !ok {
		t.Errorf("Offset = %d, %v", off, ok)
	}
	other := mem.Over(make([]byte, 64))
	if _, ok := m.Offset(other.Pointer(0)); ok {
		t.Error("a foreign pointer has an offset")
	}
}

func TestWordOperations(t *testing.T) {
	m := mem.Over(make([]byte, 64))
	w := m.Word(8)
	w.StoreRelease(5)
	w.Set(w.Peek() | 2)
	if got := w.Or(8); got != 7 {
		t.Errorf("Or returned %d", got)
	}
	if got := w.And(12); got != 15 {
		t.Errorf("And returned %d", got)
	}
	if w.CompareAndSwap(1, 2) || !w.CompareAndSwap(12, 3) {
		t.Error("CompareAndSwap took the wrong word")
	}
	if got := w.Swap(9); got != 3 || w.Add(1) != 10 || w.Load() != 10 {
		t.Errorf("Swap returned %d, word is %d", got, w.Load())
	}
	if m.Word(0).Load() != 0 || m.Word(16).Load() != 0 {
		t.Error("a neighbour changed")
	}
}

// TestStoreReleasePublishes passes a message from one goroutine to another through a plain field
// and a release store; the race detector proves that the pair orders them.
func TestStoreReleasePublishes(t *testing.T) {
	m := mem.Over(make([]byte, 64))
	payload := mem.View[uint32](m, 0)
	go func() {
		*payload = 42
		m.Word(8).StoreRelease(1)
	}()
	for m.Word(8).Load() == 0 {
	}
	if *payload != 42 {
		t.Errorf("payload = %d", *payload)
	}
}

func TestHalfOperations(t *testing.T) {
	m := mem.Over(make([]byte, 64))
	h := m.Half(12)
	if h.Swap(5) != 0 || h.Add(2) != 7 || h.Or(8) != 7 || h.And(12) != 15 {
		t.Errorf("half is %d", h.Load())
	}
	if h.CompareAndSwap(1, 2) || !h.CompareAndSwap(12, 3) || h.Load() != 3 {
		t.Error("CompareAndSwap took the wrong half")
	}
	if m.Half(8).Load() != 0 || m.Half(16).Load() != 0 {
		t.Error("a neighbour changed")
	}
}

// TestPublishPublishes is TestStoreReleasePublishes for Publish.
func TestPublishPublishes(t *testing.T) {
	m := mem.Over(make([]byte, 64))
	payload := mem.View[uint32](m, 0)
	go func() {
		*payload = 42
		m.Word(8).Publish(1)
	}()
	for m.Word(8).Load() == 0 {
		mem.Pause(1)
	}
	if *payload != 42 {
		t.Errorf("payload = %d", *payload)
	}
}

func TestPauseTakesAnyCount(t *testing.T) {
	for _, n := range []uint32{0, 1, 1000} {
		mem.Pause(n)
	}
}

// TestSetUnless tries each bit with each state of the two words: only a bit that is clear in both is set, and no other
// changes, in the word or in the one behind it.
func TestSetUnless(t *testing.T) {
	m := mem.Over(make([]byte, 24))
	w, behind, other := m.Word(0), m.Word(8), m.Word(16)
	for i := range uint64(200) {
		bit := uint64(1) << (i % 64)
		for _, there := range []uint64{0, bit, ^bit, ^uint64(0)} {
			for _, elsewhere := range []uint64{0, bit, ^bit, ^uint64(0)} {
				w.Set(there)
				other.Set(elsewhere)
				want := (there|elsewhere)&bit == 0
				after := there
				if want {
					after |= bit
				}
				if got := w.SetUnless(other, i); got != want || w.Load() != after || behind.Load() != 0 || other.Load() != elsewhere {
					t.Fatalf("SetUnless(%d) of %#x beside %#x: %v, and %#x, %#x, %#x", i, there, elsewhere, got, w.Load(), behind.Load(), other.Load())
				}
			}
		}
	}
}

// TestSetUnlessOnce: of several that set the same bit at once one does.
func TestSetUnlessOnce(t *testing.T) {
	m := mem.Over(make([]byte, 16))
	w, other := m.Word(0), m.Word(8)
	var wait sync.WaitGroup
	var set atomic.Uint64
	for range 8 {
		wait.Go(func() {
			for i := range uint64(64) {
				if w.SetUnless(other, i) {
					set.Add(1)
				}
			}
		})
	}
	if wait.Wait(); set.Load() != 64 || w.Load() != ^uint64(0) {
		t.Fatalf("%d bits were set, and the word is %#x", set.Load(), w.Load())
	}
}

// TestPrefetchWriteChangesNothing: it is a hint.
func TestPrefetchWriteChangesNothing(t *testing.T) {
	m := mem.Over(make([]byte, 256))
	m.Word(64).Swap(7)
	for n := range uint64(5) {
		mem.PrefetchWrite(m.Word(0), n)
	}
	if m.Word(64).Load() != 7 || m.Word(0).Load() != 0 {
		t.Error("memory has changed")
	}
}
