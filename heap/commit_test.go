package heap

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

const granule = layout.GranuleSize

func wantCommitted(t testing.TB, h *Heap, off uint64, want bool) {
	t.Helper()
	if got := h.IsCommitted(off); got != want {
		t.Errorf("offset %#x is committed: %t", off, got)
	}
}

// TestCommit: the granules that a range overlaps are committed, once.
func TestCommit(t *testing.T) {
	h := mustCreate(t, "a", newOptions(t))
	start, before := h.geometry.Sections.Data, h.Committed()
	for _, c := range []struct{ off, n, granules uint64 }{
		{start + granule - 1, 2, 2}, // granules 0 and 1
		{start, 1, 2},
		{start + 3*granule, granule, 3},
		{start, 6 * granule, 6}, // fills the gaps
		{h.Size() - 1, 1, 7},
		{h.geometry.Sections.Data - granule, granule, 8}, // tables
		{h.geometry.Sections.Data - granule, granule, 8},
	} {
		if err := h.Commit(c.off, c.n); err != nil {
			t.Fatal(err)
		}
		if got := (h.Committed() - before) / granule; got != c.granules {
			t.Errorf("commit %#x bytes at %#x: %d granules, want %d", c.n, c.off, got, c.granules)
		}
		wantCommitted(t, h, c.off, true)
		wantCommitted(t, h, c.off+c.n-1, true)
	}
	wantCommitted(t, h, start+6*granule, false)
	wantCommitted(t, h, h.Size(), false)
	wantCommitted(t, h, ^uint64(0), false)
	if info, err := h.Info(); err != nil || info.Committed != h.Committed() {
		t.Errorf("info says %d, %v, want %d", info.Committed, err, h.Committed())
	}
}

func TestCommitOutside(t *testing.T) {
	h := mustCreate(t, "a", newOptions(t))
	start, before := h.geometry.Sections.Data, h.Committed()
	for _, c := range []struct{ off, n uint64 }{
		{start, 0}, {h.Size(), 1}, {h.Size() - 1, 2}, {^uint64(0), 2}, {start, ^uint64(0)}, {1 << 63, 1 << 63},
	} {
		wantError(t, fmt.Sprintf("commit %#x bytes at %#x", c.n, c.off), h.Commit(c.off, c.n), ErrOffset)
		wantError(t, fmt.Sprintf("decommit %#x bytes at %#x", c.n, c.off), h.Decommit(c.off, c.n), ErrOffset)
	}
	for _, c := range []struct{ off, n uint64 }{{start + 8, granule}, {start, 8}, {start - granule, granule}, {0, granule}} {
		wantError(t, fmt.Sprintf("decommit %#x bytes at %#x", c.n, c.off), h.Decommit(c.off, c.n), ErrOffset)
	}
	if h.Committed() != before {
		t.Errorf("%d bytes committed, were %d", h.Committed(), before)
	}
}

// TestDecommit: what comes back is zero.
func TestDecommit(t *testing.T) {
	o := newOptions(t)
	h := mustCreate(t, "a", o)
	start := h.geometry.Sections.Data
	if err := h.Commit(start, 4*granule); err != nil {
		t.Fatal(err)
	}
	all := h.memory.Bytes(start, 4*granule)
	for i := range all {
		all[i] = 0xaa
	}
	if err := h.Decommit(start+granule, 2*granule); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, false, true} {
		wantCommitted(t, h, start+uint64(i)*granule, want)
	}
	if err := h.Commit(start, 4*granule); err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte{0xaa}, 4*granule)
	clear(want[granule : 3*granule])
	if !bytes.Equal(all, want) {
		t.Error("a decommitted granule is not zero, or its neighbour lost bytes")
	}
	if got := openPeer(t, "a", o).mustDo(t, "add", start+3*granule, 0)[0]; got != fmt.Sprint(uint64(0xaaaaaaaaaaaaaaaa)) {
		t.Errorf("other process read %s", got)
	}
}

// portable makes the heap commit as it does on a file system that cannot allocate.
func portable(h *Heap) *Heap {
	h.canAllocate = false
	return h
}

// TestCommitByWriting: writing zeros gives storage, and leaves alone what is committed.
func TestCommitByWriting(t *testing.T) {
	h := portable(mustCreate(t, "a", newOptions(t)))
	start := h.geometry.Sections.Data
	if err := h.Commit(start+granule, 1); err != nil {
		t.Fatal(err)
	}
	h.memory.Word(start + granule).Swap(7)
	before := allocated(t, h)
	if err := h.Commit(start, 4*granule); err != nil {
		t.Fatal(err)
	}
	if got := h.memory.Word(start + granule).Load(); got != 7 {
		t.Errorf("a committed granule was overwritten: %d", got)
	}
	if grown := allocated(t, h) - before; grown < 3*granule {
		t.Errorf("storage grew by %d bytes, want 3 granules", grown)
	}
	other, err := h.File()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	lockForTest(t, other, lockGrowth)
	if err := h.Commit(start, 4*granule); err != nil {
		t.Errorf("commit what is committed: %v", err)
	}
}

func allocated(t testing.TB, h *Heap) uint64 {
	t.Helper()
	st, err := sys.Stat(h.file)
	if err != nil {
		t.Fatal(err)
	}
	return uint64(st.Allocated)
}

// TestRaceToCommitByWriting: two that commit the same granules, each of which writes to a granule as
// soon as its own Commit has returned, lose nothing.
func TestRaceToCommitByWriting(t *testing.T) {
	o := newOptions(t)
	h := portable(mustCreate(t, "a", o))
	cmd := startPeer(t, o)
	cmd.mustDo(t, "open-portable", "a")
	granules := h.geometry.Granules() - h.geometry.FirstGranule()

	cmd.Tell("stamp 1")
	var all sync.WaitGroup
	for g := range uint64(3) {
		all.Go(func() {
			if err := stamp(h, 2+g); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	cmd.Want("ok")
	for g := range granules {
		words := mem.Slice[mem.Word](h.memory, h.geometry.Sections.Data+g*granule, 5)
		for i := uint64(1); i < 5; i++ {
			if got := words[i].Load(); got != i {
				t.Errorf("granule %d: what committer %d wrote is now %d", g, i, got)
			}
		}
	}
}

// stamp commits all granules one by one and writes into each at once, in a place of its own.
func stamp(h *Heap, who uint64) error {
	for off := h.geometry.Sections.Data; off < h.Size(); off += granule {
		if err := h.Commit(off, granule); err != nil {
			return err
		}
		h.memory.Word(off + 8*who).Swap(who)
	}
	return nil
}

// churn commits and decommits eight granules of the data from the n-th on, many times.
func churn(h *Heap, n uint64) error {
	off := h.geometry.Sections.Data + n*granule
	for range 1000 {
		if err := errors.Join(h.Commit(off, 8*granule), h.Decommit(off, 8*granule)); err != nil {
			return err
		}
	}
	return nil
}
