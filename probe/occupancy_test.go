package probe

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func drawRanges(t *rapid.T, label string) []Range {
	one := rapid.Custom(func(t *rapid.T) Range { return drawRange(t, "member") })
	return rapid.SliceOfN(one, 0, 8).Draw(t, label)
}

func (s rangeSet) has(addr uint64) bool {
	return slices.ContainsFunc(s, func(r Range) bool { return r.Contains(addr) })
}

func TestRangeSetAnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := newRangeSet(drawRanges(t, "a")), newRangeSet(drawRanges(t, "b"))
		both := a.and(b)
		for addr := uint64(0); addr <= 30; addr++ {
			if got, want := both.has(addr), a.has(addr) && b.has(addr); got != want {
				t.Fatalf("%v and %v is %v: %d in it: %t", a, b, both, addr, got)
			}
		}
	})
}

func TestRangeSetGaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set, in := newRangeSet(drawRanges(t, "set")), drawRange(t, "in")
		gaps, largest := set.gaps(in), uint64(0)
		for addr := uint64(0); addr <= 30; addr++ {
			if got, want := rangeSet(gaps).has(addr), in.Contains(addr) && !set.has(addr); got != want {
				t.Fatalf("gaps of %v in %v are %v: %d in them: %t", set, in, gaps, addr, got)
			}
		}
		for i, g := range gaps {
			largest = max(largest, g.Size())
			if g.Start >= g.End || i > 0 && gaps[i-1].End >= g.Start {
				t.Fatalf("gaps %v", gaps)
			}
		}
		if got := set.largestGap(in); got != largest {
			t.Fatalf("largest gap %d of %v", got, gaps)
		}
	})
}

var (
	exampleWindows = []Window{
		{Range{0x5500_0000_0000, 0x5504_0000_0000}, "first", "because"},
		{Range{0x4000_0000_0000, 0x4100_0000_0000}, "second", "because"},
	}
	exampleProcess = NewOccupant("process 7 (cat)", []Mapping{
		{Range: Range{0x5500_4000_0000, 0x5500_4001_0000}, Path: "/usr/lib/libfoo.so"},
		{Range: Range{0x5501_0000_0000, 0x5501_8000_0000}},
	})
)

func TestOutlook(t *testing.T) {
	o := outlook(exampleWindows, gib, &Options{Forbid: []Occupant{exampleProcess}}, Occupant{Name: "this process"})
	first := o.Windows[0]
	if len(first.Taken) != 2 || first.Taken[0].Occupant != "process 7 (cat)" || first.Taken[1].Name != "anonymous memory" {
		t.Errorf("taken: %v", first.Taken)
	}
	if first.Largest != 10*gib {
		t.Errorf("largest gap %#x", first.Largest)
	}
	if o.Base == 0 || o.Base != first.Base || Check(o.Range(), []Occupant{exampleProcess}) != nil {
		t.Errorf("base %#x, in the first window %#x", o.Base, first.Base)
	}
	if o = outlook(exampleWindows, 4*gib, &Options{Avoid: []Range{exampleWindows[0].Range}}, Occupant{}); o.Base == 0 || o.Base != o.Windows[1].Base {
		t.Errorf("base %#x, in the second window %#x", o.Base, o.Windows[1].Base)
	}
	if o = outlook(exampleWindows, 2*tib, &Options{}, Occupant{}); o.Base != 0 || o.Range() != (Range{}) {
		t.Errorf("base %#x for more than there is", o.Base)
	}
}

// What Look promises, Find does: nothing else runs in this process that maps in the first window.
func TestFindTakesWhatLookShows(t *testing.T) {
	windows := Windows()
	if len(windows) == 0 {
		return
	}
	opts := &Options{Key: t.Name(), Forbid: []Occupant{{Name: "half", Obstacles: []Obstacle{
		{Range: Range{windows[0].Start, windows[0].Start + windows[0].Size()/2}}}}}}
	o, err := Look(gib, opts)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Find(gib, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	if r.Range() != o.Range() || Check(r.Range(), opts.Forbid) != nil {
		t.Errorf("found %v, shown %v", r.Range(), o.Range())
	}
}

func TestLookWithBadSize(t *testing.T) {
	for _, size := range []uint64{0, 1, Guard + 1} {
		if _, err := Look(size, nil); !errors.Is(err, ErrUnaligned) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestCheck(t *testing.T) {
	all := []Occupant{{Name: "nobody"}, exampleProcess}
	taken := exampleProcess.Obstacles[0].Range
	for _, test := range []struct {
		r    Range
		want string
	}{
		{Range{taken.Start - gib, taken.Start - Guard}, ""},
		{Range{taken.End + Guard, taken.End + gib}, ""},
		{Range{taken.End, taken.End + Guard}, "process 7 (cat) has /usr/lib/libfoo.so [0x550040000000, 0x550040010000)"},
		{Range{taken.Start - Guard, taken.Start}, "libfoo"},
		{Range{0, math.MaxUint64}, "libfoo.so [0x550040000000, 0x550040010000) and 1 more"},
		{Range{math.MaxUint64 - Guard, math.MaxUint64}, ""},
	} {
		err := Check(test.r, all)
		if test.want == "" && err != nil || test.want != "" && (!errors.Is(err, ErrForbidden) || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%v: %v, want %q", test.r, err, test.want)
		}
	}
}

func TestCheckAgainstProfile(t *testing.T) {
	runs := simulate(100, 1)
	p, err := NewProfile([]string{"prog"}, Settings{}, runs)
	if err != nil {
		t.Fatal(err)
	}
	err = Check(Range{0x1000_0000_0000, 0x1000_4000_0000}, []Occupant{p.Occupant("p.json")})
	forbidden, ok := errors.AsType[*ForbiddenError](err)
	if !ok || !forbidden.Obstacle.Random || forbidden.Collision == nil || forbidden.Collision.Runs != 100 {
		t.Fatalf("in the random range: %v", err)
	}
	if !strings.Contains(err.Error(), "profile p.json (prog) has") || !strings.Contains(err.Error(), "random in") {
		t.Errorf("%v", err)
	}
	if err := Check(Range{0x5500_0000_0000, 0x5550_0000_0000}, []Occupant{p.Occupant("")}); err != nil {
		t.Errorf("outside of it: %v", err)
	}
}
