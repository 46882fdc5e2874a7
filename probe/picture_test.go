package probe

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// examplePicture is that of linux/amd64, on any machine.
func examplePicture(t *testing.T) *Picture {
	heap := NewOccupant("heap orders", []Mapping{{Range: Range{0x5505_0000_0000, 0x5506_0000_0000}, Path: "/dev/shm/orders.heap"}})
	return &Picture{
		Title: "Addresses & <room>", Top: 1 << 47, Windows: linuxAMD64, Zones: zonesLinuxAMD64,
		Occupants: []Occupant{exampleProcess, exampleProfile(t).Occupant("profile.json")},
		Heaps:     []Occupant{heap}, Wanted: Range{0x5512_0000_0000, 0x5513_0000_0000},
	}
}

func TestPictureGolden(t *testing.T) {
	p := examplePicture(t)
	var svg, text, reasons bytes.Buffer
	if err := errors.Join(p.SVG(&svg), p.Text(&text, 110), p.Explain(&reasons)); err != nil {
		t.Fatal(err)
	}
	golden(t, "picture.svg", svg.Bytes())
	golden(t, "picture.txt", text.Bytes())
	if got := strings.Count(reasons.String(), "\n"); got != len(linuxAMD64) {
		t.Errorf("%d reasons", got)
	}
}

func TestSVGIsWellFormed(t *testing.T) {
	p := examplePicture(t)
	p.Title = "a\x00b\x1b</text>&"
	p.Occupants[0].Name = "\xff\"'"
	var svg bytes.Buffer
	if err := p.SVG(&svg); err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(&svg); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestTextIsNarrow(t *testing.T) {
	for _, width := range []int{-1, 0, 60, 80, 250} {
		var text bytes.Buffer
		if err := examplePicture(t).Text(&text, width); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text.String()) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > max(width, 60) && !strings.HasPrefix(line, "linear") {
				t.Errorf("width %d: %d letters in %q", width, n, line)
			}
		}
	}
}

func TestEmptyPicture(t *testing.T) {
	for _, p := range []*Picture{{}, {Top: 1 << 47}, {Top: math.MaxUint64, Occupants: []Occupant{exampleProcess}}} {
		if err := errors.Join(p.SVG(io.Discard), p.Text(io.Discard, 80)); err != nil {
			t.Error(err)
		}
	}
}

func TestPictureOfThisSystem(t *testing.T) {
	o, err := Look(gib, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := NewPicture("this", o, nil, nil)
	if len(p.Windows) != len(Windows()) || len(p.Occupants) != 1 || p.Wanted != o.Range() {
		t.Errorf("%d windows, occupants %v, wanted %v", len(p.Windows), p.Occupants, p.Wanted)
	}
}

func TestScaleIsMonotone(t *testing.T) {
	s := (&Picture{Top: 1 << 47, Windows: linuxAMD64, Zones: zonesLinuxAMD64}).scale()
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Uint64().Draw(t, "a"), rapid.Uint64Range(0, 1<<47).Draw(t, "b")
		a %= 1 << 48
		low, high := s.of(min(a, b)), s.of(max(a, b))
		if low > high || low < 0 || high > 1 || math.IsNaN(low) {
			t.Fatalf("%#x at %g, %#x at %g", min(a, b), low, max(a, b), high)
		}
	})
	if s.of(0) != 0 || s.of(1<<47) != 1 {
		t.Errorf("from %g to %g", s.of(0), s.of(1<<47))
	}
}

func TestWords(t *testing.T) {
	for n, want := range map[uint64]string{0: "0x0", 0x1000: "0x1000", 0x5500_0000_0000: "0x5500_0000_0000", 0x6_4740_0000: "0x6_4740_0000"} {
		if got := grouped(n); got != want {
			t.Errorf("%#x: %s, want %s", n, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0 B", 1 << 10: "1 KiB", 320 << 30: "320 GiB", 1 << 63: "8 EiB"} {
		if got := length(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestZonesAreWellFormed(t *testing.T) {
	for _, l := range layouts() {
		all := zonesFor(l.goos, l.goarch, l.bits)
		if len(all) < 2 {
			t.Errorf("%v: %d zones", l, len(all))
		}
		var owners []string
		for _, z := range all {
			if z.Owner == "" || z.Source == "" || z.Kind == "" || len(z.Ranges) == 0 || slices.Contains(owners, z.Owner) {
				t.Errorf("%v: %+v", l, z)
			}
			owners = append(owners, z.Owner)
			for i, r := range z.Ranges {
				if r.Start >= r.End || r.End > 1<<l.bits || i > 0 && r.Start < z.Ranges[i-1].End {
					t.Errorf("%v: %s: %v", l, z.Owner, r)
				}
			}
		}
	}
	if got := zonesFor("plan9", "amd64", 47); len(got) > 0 {
		t.Errorf("plan9: %v", got)
	}
}

// Nobody is in the first window, but for Go where its heap may be anywhere.
func TestFirstWindowIsInNoZone(t *testing.T) {
	for _, l := range layouts() {
		for _, z := range zonesFor(l.goos, l.goarch, l.bits) {
			everywhere := z.Kind == ZoneRuntime && z.Ranges[0] == Range{0, 1 << 47} && l.bits == 47
			if slices.ContainsFunc(z.Ranges, l.windows[0].Overlaps) && !everywhere {
				t.Errorf("%v: %s has %v", l, z.Owner, z.Ranges)
			}
		}
	}
}
