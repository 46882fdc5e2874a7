package probe

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
	"pgregory.net/rapid"
)

func TestRangeString(t *testing.T) {
	if got, want := (Range{0x5500_0000_0000, 0x5500_4000_0000}).String(), "[0x550000000000, 0x550040000000)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestMappingString(t *testing.T) {
	for want, m := range map[string]Mapping{
		"/usr/lib/libfoo.so [0x1000, 0x2000) r-xp": {Range: Range{0x1000, 0x2000}, Perms: "r-xp", Path: "/usr/lib/libfoo.so"},
		"anonymous memory [0x1000, 0x2000) rw-p":   {Range: Range{0x1000, 0x2000}, Perms: "rw-p"},
		"[heap] [0x1000, 0x2000) rw-p":             {Range: Range{0x1000, 0x2000}, Perms: "rw-p", Path: "[heap]"},
	} {
		if got := m.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func drawRange(t *rapid.T, label string) Range {
	return Range{rapid.Uint64Range(0, 30).Draw(t, label+" start"), rapid.Uint64Range(0, 30).Draw(t, label+" end")}
}

// addresses lists what is in r.
func addresses(r Range) (in []uint64) {
	for a := uint64(0); a <= 30; a++ {
		if r.Contains(a) {
			in = append(in, a)
		}
	}
	return in
}

func TestRangeOverlapsMeansCommonAddresses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawRange(t, "a"), drawRange(t, "b")
		want := slices.ContainsFunc(addresses(a), b.Contains)
		if a.Overlaps(b) != want || b.Overlaps(a) != want {
			t.Fatalf("%v overlaps %v: %t and %t, want %t", a, b, a.Overlaps(b), b.Overlaps(a), want)
		}
	})
}

func TestRangeSetIsTheUnion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ranges := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Range { return drawRange(t, "member") }), 0, 8).Draw(t, "ranges")
		set, probe := newRangeSet(ranges), drawRange(t, "probe")
		want := slices.ContainsFunc(ranges, probe.Overlaps)
		if got := set.overlaps(probe); got != want {
			t.Fatalf("%v of %v overlaps %v: %t, want %t", set, ranges, probe, got, want)
		}
		for i := 1; i < len(set); i++ {
			if set[i-1].End >= set[i].Start {
				t.Fatalf("%v touch", set)
			}
		}
	})
}

func TestSelf(t *testing.T) {
	mappings, err := Self()
	if errors.Is(err, errors.ErrUnsupported) {
		shmtest.SkipAnywhere(t, fmt.Sprint("this system does not show its mappings:", " ", err))
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range mappings {
		if m.Start >= m.End || i > 0 && m.Start < mappings[i-1].End {
			t.Errorf("%v out of order", m)
		}
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program = resolved(t, program)
	isCode := func(m Mapping) bool { return m.Path == program && strings.Contains(m.Perms, "x") && m.Inode != 0 }
	if !slices.ContainsFunc(mappings, isCode) {
		t.Errorf("no code of %s in %v", program, mappings)
	}
}
