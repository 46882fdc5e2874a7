package alloc

import (
	"errors"
	"testing"
)

// TestOffsets: a pointer and its offset lead to each other, and nothing outside the data is reached.
func TestOffsets(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, _ := r.join(t)
	off := mustAlloc(t, mustCache(t, a), 100)
	p, err := At[[3]uint64](a, off)
	if err != nil {
		t.Fatal(err)
	}
	p[2] = 7
	if back, err := OffsetOf(a, &p[2]); back != off+16 || err != nil || a.memory.Word(off+16).Load() != 7 {
		t.Errorf("%#x, %v, want %#x", back, err, off+16)
	}
	var local int
	for _, p := range []*int{nil, &local} {
		if _, err := OffsetOf(a, p); !errors.Is(err, ErrNotInHeap) {
			t.Errorf("%p: %v", p, err)
		}
	}
	for _, off := range []uint64{0, 8, r.geometry.Sections.Data - 8, off + 4, 64 << 20, 64<<20 - 8, 60 << 20, ^uint64(7)} {
		if _, err := At[[2]uint64](a, off); !errors.Is(err, ErrNotInHeap) {
			t.Errorf("%#x: %v", off, err)
		}
	}
}
