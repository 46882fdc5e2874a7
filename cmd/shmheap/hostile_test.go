package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/live"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/screen"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/queue"
)

// TestHostileHeap: whatever a peer writes over the tables, all that looks at a heap ends, with a picture of it or an
// error, and neither panics nor leaves the region.
func TestHostileHeap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		h, w := furnished(t)
		g := h.Geometry()
		for range 15 {
			for range 1 + rng.IntN(20) {
				scribble(h, rng, g.Sections.Roots, g.Sections.Data+2<<20)
			}
			lookAtAll(t, w, rng)
		}
		w.Close()
		h.Close() // which may find damage
	}
}

// scribble overwrites a word that has storage with something that looks like a state, a small number or anything.
func scribble(h *heap.Heap, rng *rand.Rand, from, to uint64) {
	off := (from + rng.Uint64N(to-from)) &^ 7
	if !h.IsCommitted(off) {
		return
	}
	word := rng.Uint64() >> rng.IntN(64)
	if rng.IntN(2) == 0 {
		word = uint64(rng.IntN(8)) | rng.Uint64N(42)<<8 | rng.Uint64N(10)<<16 | rng.Uint64N(1<<rng.IntN(32))<<32
	}
	h.Memory().Word(off).Swap(word)
}

// furnished returns a heap with something of each kind in it, and what looks at it.
func furnished(t *testing.T) (*heap.Heap, *live.Watcher) {
	t.Helper()
	o := &heap.Options{Dir: filepath.Join(t.TempDir(), "heaps"), Size: 16 << 20}
	h, err := heap.Create("a", o)
	if err != nil {
		t.Fatal(err)
	}
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(200) {
		_, e := a.Alloc(i * i)
		err = errors.Join(err, e)
	}
	_, e1 := alloc.NewArena(a, nil)
	_, e2 := queue.Open(a, "jobs", &queue.Options{Capacity: 64})
	_, e3 := queue.OpenMailbox(a, "box")
	_, e4 := queue.OpenBroadcast(a, "news", &queue.BroadcastOptions{Capacity: 8})
	w, e5 := live.Open("a", o)
	if err := errors.Join(err, e1, e2, e3, e4, e5); err != nil {
		t.Fatal(err)
	}
	return h, w
}

// lookAtAll does what map, top, serve and dump do.
func lookAtAll(t *testing.T, w *live.Watcher, rng *rand.Rand) {
	t.Helper()
	if s, err := w.Look(100); err == nil {
		(&screen.Layout{Width: 80, Height: 24, Colour: true}).Render(s)
		x := s.Spaces
		if sum := x.Tables + x.Slabs + x.Large + x.Arenas + x.Claimed + x.Free + x.Damaged; sum != s.Size {
			t.Fatalf("the parts have %d bytes, the region %d", sum, s.Size)
		}
	}
	if m, _, err := newMap(w); err == nil {
		if err := m.SVG(io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = newDumpJSON(w.View()) // damage is an error
	for range 20 {
		off := rng.Uint64N(w.View().Size())
		if p, err := w.Inspector().Locate(off); err == nil {
			_, _ = newPlaceJSON(w, &p, off, 4)
		}
	}
}
