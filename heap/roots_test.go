package heap

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/shmtest"
)

func mustStore(t testing.TB, h *Heap, r Root) {
	t.Helper()
	if err := h.StoreRoot(r); err != nil {
		t.Fatal(err)
	}
}

func wantRoots(t testing.TB, h *Heap, want ...Root) {
	t.Helper()
	got, err := h.Roots()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("roots, -want +got:\n%s", diff)
	}
}

func TestRoots(t *testing.T) {
	o := newOptions(t)
	h := mustCreate(t, "a", o)
	wantRoots(t, h)
	_, err := h.LoadRoot("list")
	wantError(t, "load a root that does not exist", err, ErrNoRoot)
	wantError(t, "delete it", h.DeleteRoot("list"), ErrNoRoot)

	list := Root{Name: "list", Offset: data(h, 0), Type: 7, TypeName: "List"}
	empty := Root{Name: "empty", Type: 1<<64 - 1, TypeName: "Nothing"}
	mustStore(t, h, list)
	mustStore(t, h, empty)
	wantRoots(t, h, list, empty)

	list.Offset = h.Size() - 1
	mustStore(t, h, list)
	if got, err := h.LoadRoot("list"); err != nil || got != list {
		t.Errorf("loaded %+v, %v", got, err)
	}
	p := openPeer(t, "a", o)
	if got := p.do("load", "list"); got != fmt.Sprintf("ok %d 7", list.Offset) {
		t.Errorf("other process loaded %s", got)
	}
	p.mustDo(t, "delete", "list")
	_, err = h.LoadRoot("list")
	wantError(t, "load a root that was deleted", err, ErrNoRoot)
	wantRoots(t, h, empty)
	list.Type, list.TypeName = 8, strings.Repeat("T", layout.TypeNameSize)
	mustStore(t, h, list)
	list.TypeName = list.TypeName[1:]
	wantRoots(t, h, list, empty)
}

func TestRootType(t *testing.T) {
	h := mustCreate(t, "a", newOptions(t))
	r := Root{Name: "r", Offset: data(h, 0), Type: 1, TypeName: "One"}
	mustStore(t, h, r)
	other := Root{Name: "r", Offset: data(h, 1), Type: 2, TypeName: "Two"}
	err := h.StoreRoot(other)
	wantError(t, "store as another type", err, ErrRootType)
	if !strings.Contains(err.Error(), "One") || !strings.Contains(err.Error(), "Two") {
		t.Errorf("the error does not name the types: %v", err)
	}
	got, loaded, err := h.LoadOrStoreRoot(other)
	wantError(t, "load or store as another type", err, ErrRootType)
	if got != r || !loaded {
		t.Errorf("got %+v, %t", got, loaded)
	}
	wantRoots(t, h, r)
}

func TestRootTableFull(t *testing.T) {
	h := mustCreate(t, "a", newOptions(t))
	for i := range h.roots {
		mustStore(t, h, Root{Name: strconv.Itoa(i), Offset: data(h, uint64(i))})
	}
	wantError(t, "store in a full table", h.StoreRoot(Root{Name: "more"}), ErrTooManyRoots)
	_, _, err := h.LoadOrStoreRoot(Root{Name: "more"})
	wantError(t, "load or store in a full table", err, ErrTooManyRoots)
	mustStore(t, h, Root{Name: "3", Offset: data(h, 99)}) // what exists can be replaced
	if err := h.DeleteRoot("5"); err != nil {
		t.Fatal(err)
	}
	mustStore(t, h, Root{Name: "more"})
	wantError(t, "store in a full table", h.StoreRoot(Root{Name: "5"}), ErrTooManyRoots)
}

func TestBadRoots(t *testing.T) {
	h := mustCreate(t, "a", newOptions(t))
	longest := strings.Repeat("n", layout.NameSize-1)
	for _, name := range []string{"", longest + "n", "a\nb", "a\x00", "\x7f", "\xff"} {
		err := h.StoreRoot(Root{Name: name})
		wantError(t, "store "+strconv.Quote(name), err, ErrName)
		_, _, err = h.LoadOrStoreRoot(Root{Name: name})
		wantError(t, "load or store "+strconv.Quote(name), err, ErrName)
		_, err = h.LoadRoot(name)
		wantError(t, "load "+strconv.Quote(name), err, ErrNoRoot)
	}
	for _, off := range []uint64{1, data(h, 0) - 1, h.Size(), 1 << 63, ^uint64(0)} {
		wantError(t, fmt.Sprintf("store offset %#x", off), h.StoreRoot(Root{Name: "a", Offset: off}), ErrOffset)
	}
	wantRoots(t, h)
	for _, name := range []string{longest, "a b", "größe", "/x"} {
		mustStore(t, h, Root{Name: name})
		if r, err := h.LoadRoot(name); err != nil || r.Name != name {
			t.Errorf("root %q became %q, %v", name, r.Name, err)
		}
	}
}

// TestDamagedRoot: a root that leads out of the heap is an error for whoever loads it.
func TestDamagedRoot(t *testing.T) {
	damages(t)
	h := mustCreate(t, "a", newOptions(t))
	mustStore(t, h, Root{Name: "good"})
	mustStore(t, h, Root{Name: "bad"})
	h.roots[1].Offset.Swap(h.Size())
	_, err := h.LoadRoot("bad")
	wantError(t, "load", err, ErrCorrupt)
	_, err = h.Roots()
	wantError(t, "list", err, ErrCorrupt)
	wantError(t, "check", h.Check().Err(), ErrCorrupt)
	if _, err := h.LoadRoot("good"); err != nil {
		t.Error(err)
	}
	h.roots[1].Offset.Swap(0)
	h.roots[1].Name = h.roots[0].Name
	wantError(t, "check with a name that is there twice", h.Check().Err(), ErrCorrupt)
}

// raceForRoots makes n roots from several goroutines and returns where each leads in the end, and in
// front of that how many of them were stored here.
func raceForRoots(h *Heap, prefix string, n uint64) ([]any, error) {
	var stored atomic.Int64
	found := make([][]uint64, 4)
	errs := make(chan error, len(found))
	for g := range found {
		go func() {
			errs <- func() error {
				for i := range n {
					mine := data(h, uint64(h.Peer().Slot())<<12|uint64(g)<<8|i)
					r, loaded, err := h.LoadOrStoreRoot(Root{Name: fmt.Sprint(prefix, i), Offset: mine})
					if err != nil {
						return err
					}
					if found[g] = append(found[g], r.Offset); !loaded {
						stored.Add(1)
					}
				}
				return nil
			}()
		}()
	}
	for range found {
		if err := <-errs; err != nil {
			return nil, err
		}
	}
	results := []any{stored.Load()}
	for i := range n {
		for g := range found {
			if found[g][i] != found[0][i] {
				return nil, fmt.Errorf("root %d: %#x and %#x", i, found[0][i], found[g][i])
			}
		}
		results = append(results, found[0][i])
	}
	return results, nil
}

// TestRaceForRoots: of the goroutines of several processes that want to make a root one does, and
// all see what that one made.
func TestRaceForRoots(t *testing.T) {
	const count = 100
	o := newOptions(t)
	o.MaxRoots = count
	h := mustCreate(t, "a", o)
	peers := make([]peer, 3)
	for i := range peers {
		peers[i] = openPeer(t, "a", o)
	}
	for _, p := range peers {
		p.Tell(fmt.Sprintf("race r %d", count))
	}
	here, err := raceForRoots(h, "r", count)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(fmt.Sprintln(here...))
	stored, _ := strconv.Atoi(want[0])
	for _, p := range peers {
		got := strings.Fields(p.Hear())
		if got[0] != "ok" || !slices.Equal(got[2:], want[1:]) {
			t.Fatalf("process %d: %q\nthis one: %q", p.PID(), got, want)
		}
		n, _ := strconv.Atoi(got[1])
		stored += n
	}
	if roots, err := h.Roots(); err != nil || len(roots) != count || stored != count {
		t.Errorf("%d roots, %v; %d were stored, want %d", len(roots), err, stored, count)
	}
}

// TestRootsAreReadWhole: a reader of an entry that becomes one root after another never sees parts of
// two.
func TestRootsAreReadWhole(t *testing.T) {
	h := mustCreate(t, "a", newOptions(t))
	var stop atomic.Bool
	var all sync.WaitGroup
	all.Go(func() {
		for i := uint64(0); !stop.Load(); i++ {
			name := strconv.FormatUint(i%1000, 10)
			if err := h.StoreRoot(Root{Name: name, Offset: data(h, i%1000), Type: Fingerprint(i % 1000), TypeName: name}); err != nil {
				t.Error(err)
			}
			if err := h.DeleteRoot(name); err != nil {
				t.Error(err)
			}
		}
	})
	seen := 0
	for end := time.Now().Add(shmtest.Patience); seen < 2000 && time.Now().Before(end); runtime.Gosched() {
		roots, err := h.Roots()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range roots {
			seen++
			if n, err := strconv.ParseUint(r.Name, 10, 64); err != nil || r.Offset != data(h, n) || r.Type != Fingerprint(n) || r.TypeName != r.Name {
				t.Errorf("saw parts of two roots: %+v, %v", r, err)
			}
		}
	}
	stop.Store(true)
	all.Wait()
	if seen < 2000 {
		t.Errorf("saw %d roots", seen)
	}
}

// TestRootsBusy: a process that is stopped while it makes a root makes others give up in the end.
func TestRootsBusy(t *testing.T) {
	t.Parallel() // it waits for seconds
	o := newOptions(t)
	h := mustCreate(t, "a", o)
	mustStore(t, h, Root{Name: "r", Offset: data(h, 3)})
	other, err := h.File()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	lockForTest(t, other, lockRoots)
	wantError(t, "store", h.StoreRoot(Root{Name: "s"}), ErrBusy)
	if r, err := h.LoadRoot("r"); err != nil || r.Offset != data(h, 3) {
		t.Errorf("load while another process makes a root: %+v, %v", r, err)
	}
}
