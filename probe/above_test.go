package probe

import (
	"errors"
	"runtime"
	"slices"
	"testing"
)

func TestAboveWindows(t *testing.T) {
	for port, w := range wides {
		window := aboveWindow(port)
		if window.Start != w.start || window.End > 1<<w.bits || window.Start%Slot != 0 || window.End%Slot != 0 || window.Name == "" {
			t.Errorf("%s: %+v", port, window)
		}
		if _, _, cells := window.grid(64 * tib); cells < 16 {
			t.Errorf("%s: %d places for the largest heap", port, cells)
		}
		for _, l := range layouts() {
			if l.goos+"/"+l.goarch == port && (window.Start < 1<<l.bits || w.needs == "") {
				t.Errorf("%s: begins at %#x, in what the kernel gives out unasked", l, window.Start)
			}
		}
	}
	if w := aboveWindow("plan9/amd64"); w.Size() != 0 {
		t.Errorf("plan9: %v", w)
	}
}

// TestAbove: what the kernel said of the last page holds for the window, and nothing of it is taken unasked.
func TestAbove(t *testing.T) {
	for _, w := range Windows() {
		if err := Reachable(w.Range); err != nil {
			t.Errorf("%s: %v", w.Name, err)
		}
	}
	if err := Reachable(Range{1 << 60, 1<<60 + Slot}); !errors.Is(err, ErrBeyond) {
		t.Errorf("2^60: %v", err)
	}
	window, err := Above()
	if err != nil {
		testNarrow(t, err)
		return
	}
	r, err := Find(tib, &Options{Key: "above", Above: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Range(); got.Start < window.Start || got.End > window.End {
		t.Errorf("%v is not in %v", got, window.Range)
	}
	if _, err := Reserve(r.Range().Start, Guard); !errors.Is(err, ErrTaken) {
		t.Errorf("taken: %v", err)
	}
	gaps, err := Gaps(Slot, &Options{Above: true})
	if err != nil || len(gaps) < 2 {
		t.Errorf("gaps %v, %v, want one on each side", gaps, err)
	}
	if err := r.Release(); err != nil {
		t.Error(err)
	}
}

// testNarrow wants every way to ask for such addresses to be refused.
func testNarrow(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrNarrow) {
		t.Errorf("%v, want ErrNarrow", err)
	}
	o := &Options{Above: true}
	_, findErr := Find(Slot, o)
	_, lookErr := Look(Slot, o)
	_, gapsErr := Gaps(Slot, o)
	for _, err := range []error{findErr, lookErr, gapsErr} {
		if !errors.Is(err, ErrNarrow) {
			t.Errorf("%v, want ErrNarrow", err)
		}
	}
	for base := range Candidates(Slot, o) {
		t.Fatalf("candidate %#x", base)
	}
	window := aboveWindow(runtime.GOOS + "/" + runtime.GOARCH)
	if window.Size() == 0 {
		return
	}
	eachWay(t, func(t *testing.T, take way) {
		if _, err := reserve(window.Start, Slot, take); !errors.Is(err, ErrBeyond) {
			t.Errorf("%v, want ErrBeyond", err)
		}
	})
}

func TestRoom(t *testing.T) {
	w := Windows()
	if len(w) == 0 {
		return
	}
	span := Range{w[0].Start, w[0].Start + Slot}
	if err := Room(span, 0, nil); err != nil {
		t.Errorf("%v", err)
	}
	if err := Room(Range{1 << 60, 1<<60 + Slot}, 0, nil); !errors.Is(err, ErrBeyond) {
		t.Errorf("%v", err)
	}
	if !slices.Contains(here().windows, w[0]) {
		t.Error("windows of this machine are not among those for classification")
	}
}
