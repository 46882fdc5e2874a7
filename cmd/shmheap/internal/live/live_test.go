package live

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/queue"
)

func newHeap(t *testing.T) (*alloc.Allocator, *Watcher) {
	t.Helper()
	o := &heap.Options{Dir: filepath.Join(t.TempDir(), "heaps"), Size: 64 << 20}
	h, err := heap.Create("a", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	w, err := Open("a", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return a, w
}

// TestLook: sums, rates and cells of a heap that changes between two looks.
func TestLook(t *testing.T) {
	a, w := newHeap(t)
	q, err := queue.Open(a, "jobs", &queue.Options{Capacity: 16})
	if err != nil {
		t.Fatal(err)
	}
	in, err := q.Producer()
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.Look(100)
	if err != nil || s.Seconds != 0 || len(s.Peers) != 1 || len(s.Queues) != 1 || s.Problem != "" {
		t.Fatalf("%+v, %v", s, err)
	}
	before := s.Live
	for range 5000 {
		if _, err := a.Alloc(1000); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Alloc(1 << 20); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		if err := in.TryPush(q.Offset()); err != nil {
			t.Fatal(err)
		}
	}
	if s, err = w.Look(100); err != nil {
		t.Fatal(err)
	}
	if s.Seconds <= 0 || s.Live != before+5001 || s.Growth <= 0 || s.Allocs <= 0 || s.Peers[0].AllocRate <= 0 || s.Queues[0].Depth != 8 || s.Queues[0].PushRate <= 0 {
		t.Errorf("%+v", s)
	}
	x := s.Spaces
	if sum := x.Tables + x.Slabs + x.Large + x.Arenas + x.Claimed + x.Free + x.Damaged; sum != s.Size || x.Large < 1<<20 || x.Used > s.Size {
		t.Errorf("%d of %d: %+v", sum, s.Size, x)
	}
	if n := uint64(len(s.Cells)); n == 0 || n > 100 || n*s.CellBytes < x.Used || (n-1)*s.CellBytes >= x.Used {
		t.Errorf("%d cells of %d for %d", n, s.CellBytes, x.Used)
	}
	if words := strings.Join(x.Words(), "\n"); !strings.Contains(words, "largest free run") {
		t.Error(words)
	}
}

// TestCells: a cell is what most of it is, and damage shows however small.
func TestCells(t *testing.T) {
	spans := func(yield func(alloc.Span) bool) {
		for _, s := range []alloc.Span{
			{Kind: alloc.SpanTables, Offset: 0, Bytes: 4 * Granule, UsedBytes: 4 * Granule},
			{Kind: alloc.SpanSlab, Offset: 4 * Granule, Bytes: 3 * Granule, UsedBytes: 3 * Granule / 2},
			{Kind: alloc.SpanDamaged, Offset: 7 * Granule, Bytes: Granule},
			{Kind: alloc.SpanFree, Offset: 8 * Granule, Bytes: 100 * Granule},
		} {
			if !yield(s) {
				return
			}
		}
	}
	cells, each := Cells(spans, 8*Granule, 4)
	want := []Cell{{"tables", 1}, {"tables", 1}, {"slab", 0.5}, {"damaged", 0}}
	if each != 2*Granule || len(cells) != 4 {
		t.Fatalf("%d cells of %d", len(cells), each)
	}
	for i := range want {
		if cells[i] != want[i] {
			t.Errorf("cell %d: %+v, want %+v", i, cells[i], want[i])
		}
	}
	var sums Spaces
	for s := range spans {
		sums.Add(s)
	}
	if sums.Used != 8*Granule || sums.Free != 100*Granule || sums.LargestFree != 100*Granule || sums.FreeBetween != 0 || sums.Fragmentation() != 0 {
		t.Errorf("%+v", sums)
	}
	sums.Add(alloc.Span{Kind: alloc.SpanLarge, Offset: 108 * Granule, Bytes: Granule})
	sums.Add(alloc.Span{Kind: alloc.SpanFree, Offset: 109 * Granule, Bytes: 100 * Granule})
	sums.Add(alloc.Span{Kind: alloc.SpanLarge, Offset: 209 * Granule, Bytes: Granule})
	if sums.FreeBetween != 200*Granule || sums.LargestGap != 100*Granule || sums.Fragmentation() != 0.5 {
		t.Errorf("%+v, fragmentation %v", sums, sums.Fragmentation())
	}
}

// TestGone: a heap that was removed, or whose file was cut, is an error and no crash.
func TestGone(t *testing.T) {
	a, w := newHeap(t)
	f, err := a.Heap().File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := int64(a.Heap().Size())
	if err := f.Truncate(1 << 16); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Look(10); !errors.Is(err, heap.ErrCorrupt) {
		t.Errorf("cut: %v", err)
	}
	if err := Guard(func() error { _, err := w.look(10); w.Inspector().Stats(); return err }); !errors.Is(err, heap.ErrCorrupt) {
		t.Errorf("cut while it is read: %v", err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(a.Heap().Path()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Look(10); !errors.Is(err, heap.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
}
