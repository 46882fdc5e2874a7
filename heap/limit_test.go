package heap

import (
	"errors"
	"sync"
	"testing"
)

func newLimited(t *testing.T, granules uint64) *Heap {
	t.Helper()
	h := mustCreate(t, "a", newOptions(t))
	if err := h.SetLimit(h.Committed() + granules*granule); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestLimit: as much as the limit says can be committed, and not a granule more.
func TestLimit(t *testing.T) {
	h := newLimited(t, 4)
	start, before := h.geometry.Sections.Data, h.Committed()
	if err := h.Commit(start, 4*granule); err != nil {
		t.Fatal(err)
	}
	err := h.Commit(start, 6*granule)
	var limit *LimitError
	if !errors.As(err, &limit) || *limit != (LimitError{Limit: h.Limit(), Committed: before + 4*granule, Want: 2 * granule}) {
		t.Fatalf("beyond the limit: %#v, %v", limit, err)
	}
	wantError(t, "beyond the limit", err, ErrLimit)
	wantError(t, "beyond the limit", err, ErrNoSpace)
	wantCommitted(t, h, start+4*granule, false)
	if err := h.Decommit(start, 2*granule); err != nil {
		t.Fatal(err)
	}
	if err := h.Commit(start+4*granule, 2*granule); err != nil {
		t.Errorf("what was given back cannot be committed: %v", err)
	}
	wantError(t, "a granule of tables beyond the limit", h.Commit(start-granule, granule), ErrLimit)
	if info, err := h.Info(); err != nil || info.Limit != h.Limit() {
		t.Errorf("info says %d, %v, want %d", info.Limit, err, h.Limit())
	}
	if err := h.SetLimit(0); err != nil {
		t.Fatal(err)
	}
	if err := h.Commit(start, 100*granule); err != nil || h.Limit() != 0 {
		t.Errorf("without a limit, which is %d: %v", h.Limit(), err)
	}
}

func TestLimitOfOptions(t *testing.T) {
	o := newOptions(t)
	o.Limit = 1
	_, err := Create("a", o)
	wantError(t, "a limit below the tables", err, ErrSize)
	o.Limit = 1 << 40
	_, err = Create("a", o)
	wantError(t, "a limit beyond the size", err, ErrSize)
	o.Limit = 3 << 20
	h := mustCreate(t, "a", o)
	wantError(t, "commit", h.Commit(h.geometry.Sections.Data, 4<<20), ErrLimit)
	if info, err := Stat("a", o); err != nil || info.Limit != 3<<20 {
		t.Errorf("stat says %d, %v", info.Limit, err)
	}
}

// TestLimitUndone: what others committed between the first look and the bits takes the bits back, but not from
// tables.
func TestLimitUndone(t *testing.T) {
	h := newLimited(t, 4)
	first := h.geometry.FirstGranule()
	if err := h.Commit(first*granule, 4*granule); err != nil {
		t.Fatal(err)
	}
	if err := h.commitByAllocating(first+4, first+6); err != nil {
		t.Fatal(err)
	}
	var limit *LimitError
	if err := h.keepWithinLimit(first+4, first+6); !errors.As(err, &limit) || limit.Want != 2*granule || limit.Committed != h.Committed() {
		t.Errorf("error %v with %d bytes committed", err, h.Committed())
	}
	wantCommitted(t, h, (first+4)*granule, false)
	wantCommitted(t, h, (first+3)*granule, true)
	if err := h.commitByAllocating(first-1, first); err != nil {
		t.Fatal(err)
	}
	if err := h.keepWithinLimit(first-1, first); err != nil {
		t.Errorf("tables: %v", err)
	}
	wantCommitted(t, h, (first-1)*granule, true)
}

// TestLimitRaced: however many commit at once, what is committed when they are done is within the limit, and
// whoever had no error has its granules.
func TestLimitRaced(t *testing.T) {
	for range 20 {
		h := newLimited(t, 10)
		start := h.geometry.Sections.Data
		var wg sync.WaitGroup
		var got [8]bool
		for i := range got {
			wg.Go(func() { got[i] = h.Commit(start+uint64(i)*2*granule, 2*granule) == nil })
		}
		wg.Wait()
		if h.Committed() > h.Limit() {
			t.Fatalf("%d bytes are committed, the limit is %d", h.Committed(), h.Limit())
		}
		for i, ok := range got {
			wantCommitted(t, h, start+uint64(i)*2*granule, ok)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkWithinLimit(b *testing.B) {
	o := newOptions(b)
	o.Size = 64 << 30
	h := mustCreate(b, "a", o)
	h.SetLimit(32 << 30)
	for b.Loop() {
		if err := h.withinLimit(1, 0); err != nil {
			b.Fatal(err)
		}
	}
}
