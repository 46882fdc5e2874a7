package probe

import (
	"errors"
	"io/fs"
	"slices"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
)

// mustFind releases at the end of the test.
func mustFind(t *testing.T, size uint64, opts *Options) Range {
	t.Helper()
	if len(Windows()) == 0 {
		shmtest.SkipAnywhere(t, "no windows are known for this system")
	}
	r, err := Find(size, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Release(); err != nil {
			t.Error(err)
		}
	})
	return r.Range()
}

// windowOf returns the index of the window that holds r.
func windowOf(r Range) int {
	return slices.IndexFunc(Windows(), func(w Window) bool { return w.Contains(r.Start) && w.Contains(r.End-1) })
}

func TestFind(t *testing.T) {
	for _, size := range []uint64{Guard, mib, gib, gib + Guard, 3 * gib} {
		got := mustFind(t, size, nil)
		if got.Size() != size || got.Start%Slot != 0 || windowOf(got) < 0 {
			t.Errorf("%#x bytes: %v, window %d", size, got, windowOf(got))
		}
	}
}

func TestFindWithAKey(t *testing.T) {
	first := mustFind(t, mib, &Options{Key: "1000/orders"})
	again := mustFind(t, mib, &Options{Key: "1000/orders"})
	other := mustFind(t, mib, &Options{Key: "1000/invoices"})
	if first.Overlaps(again) || first == other || again == other {
		t.Errorf("%v, %v, %v", first, again, other)
	}
	if _, stride, cells := Windows()[0].grid(mib); again.Start != first.Start+stride && cells > 2 {
		t.Logf("not the next cell: %v then %v", first, again) // it wrapped round, or the cell was taken
	}
}

func TestFindMeetsAtTheSamePlace(t *testing.T) {
	opts := &Options{Key: "1000/meet"}
	r, err := Find(mib, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Release(); err != nil {
		t.Fatal(err)
	}
	if again := mustFind(t, mib, opts); again != r.Range() {
		t.Errorf("%v, then %v", r.Range(), again)
	}
}

func TestFindAvoids(t *testing.T) {
	free := mustFind(t, mib, &Options{Key: "avoid"})
	w := Windows()[0]
	if got := mustFind(t, mib, &Options{Key: "avoid", Avoid: []Range{free, w.Range}}); got.Overlaps(w.Range) {
		t.Errorf("%v lies in %v", got, w.Range)
	}
}

func TestFindGoesToAWindowThatIsLargeEnough(t *testing.T) {
	windows := Windows()
	if len(windows) < 2 || windows[1].Size() < windows[0].Size()+4*Slot {
		shmtest.SkipAnywhere(t, "the second window is not larger than the first")
	}
	if got := mustFind(t, windows[0].Size(), nil); windowOf(got) != 1 {
		t.Errorf("%v is in window %d", got, windowOf(got))
	}
}

func TestFindFindsNothing(t *testing.T) {
	for size, want := range map[uint64]error{0: ErrUnaligned, mib + 1: ErrUnaligned, 1 << 60: ErrNoWindow} {
		if r, err := Find(size, nil); r != nil || !errors.Is(err, want) {
			t.Errorf("%#x bytes: %v, want %v", size, err, want)
		}
	}
}

// denying returns a way that fails with err and counts how often it was tried in each window.
func denying(windows []Window, err error) (way, []int) {
	tried := make([]int, len(windows))
	return func(base, _ uint64) (uint64, error) {
		tried[slices.IndexFunc(windows, func(w Window) bool { return w.Contains(base) })]++
		return 0, err
	}, tried
}

func TestFindLimitsItsTries(t *testing.T) {
	windows := []Window{{Range: Range{0, 100 * gib}}, {Range: Range{100 * gib, 105 * gib}}, {Range: Range{105 * gib, 200 * gib}}}
	for goos, want := range map[string][]int{"linux": {32, 4, 14}, "darwin": {4, 2, 1}} {
		take, tried := denying(windows, fs.ErrExist)
		s := search{size: mib, take: take, tries: triesOn(goos)}
		if r, err := s.run(windows); r != nil || !errors.Is(err, ErrNoWindow) || !errors.Is(err, ErrTaken) {
			t.Errorf("%s: %v, want ErrNoWindow and ErrTaken", goos, err)
		}
		if !slices.Equal(tried, want) {
			t.Errorf("%s: tried %v, want %v", goos, tried, want)
		}
	}
}

func TestFindStopsWhereNoCandidateCanDo(t *testing.T) {
	windows := []Window{{Range: Range{0, 100 * gib}}}
	take, tried := denying(windows, sys.ENOMEM)
	s := search{size: mib, take: take, tries: 64}
	if _, err := s.run(windows); !errors.Is(err, ErrNoMemory) || errors.Is(err, ErrNoWindow) {
		t.Errorf("%v, want ErrNoMemory", err)
	}
	if tried[0] != 1 {
		t.Errorf("tried %d times", tried[0])
	}
}

func TestFindWithoutWindows(t *testing.T) {
	s := search{size: mib, take: byHint, tries: 64}
	if _, err := s.run(nil); !errors.Is(err, ErrNoWindow) {
		t.Errorf("%v, want ErrNoWindow", err)
	}
}
