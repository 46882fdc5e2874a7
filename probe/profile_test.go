package probe

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// simulate returns runs of a program that has a fixed image, a heap at random in 46 bits, a
// position-independent part and libraries, each with 28 random bits of pages.
func simulate(n int, seed uint64) [][]Mapping {
	random := rand.New(rand.NewPCG(seed, 0))
	runs := make([][]Mapping, n)
	at := func(base, span, size uint64, path string) Mapping {
		start := base + random.Uint64N(span)&^0xfff
		return Mapping{Range: Range{start, start + size}, Perms: "rw-p", Path: path}
	}
	for i := range runs {
		runs[i] = []Mapping{
			{Range: Range{0x40_0000, 0x59_0000}, Path: "/bin/prog"},
			at(0, 64*tib, 64<<20, ""),
			at(0x5555_5555_4000, tib, 1<<20, "/bin/pie"),
			at(0x7eff_0000_0000, tib, 16<<20, "/lib/libc.so"),
			at(0x7ffc_0000_0000, 16*gib/4, 1<<17, "[stack]"),
		}
	}
	return runs
}

func TestProfileFindsTheZones(t *testing.T) {
	for _, n := range []int{20, 40, 200, 1000} {
		p, err := NewProfile([]string{"prog"}, Settings{}, simulate(n, 2))
		if err != nil {
			t.Fatal(err)
		}
		zone := func(r Range) (inside []Occupied) {
			for _, o := range p.Occupied {
				if o.Start >= r.Start && o.End <= r.End {
					inside = append(inside, o)
				}
			}
			return inside
		}
		image, heap := zone(Range{0, 0x60_0000}), zone(Range{0x60_0000, 65 * tib})
		pie, top := zone(Range{0x5555_5555_0000, 0x5700_0000_0000}), zone(Range{0x7e00_0000_0000, 0x8000_0000_0000})
		if len(image) != 1 || image[0].Random || image[0].Runs != n || image[0].Names[0] != "/bin/prog" {
			t.Errorf("%d runs: image %v", n, image)
		}
		if len(heap) != 1 || !heap[0].Random || heap[0].Runs != n || heap[0].Size() < 40*tib {
			t.Errorf("%d runs: heap %v", n, heap)
		}
		if len(pie) != 1 || !pie[0].Random || pie[0].Runs != n || pie[0].Names[0] != "/bin/pie" {
			t.Errorf("%d runs: pie %v", n, pie)
		}
		if len(top) == 0 || len(top) > 4 || len(p.Occupied) != 3+len(top) {
			t.Errorf("%d runs: top %v, all %v", n, top, p.Occupied)
		}
	}
}

func TestFewRunsMakeNoSpans(t *testing.T) {
	p, err := NewProfile([]string{"prog"}, Settings{}, simulate(runsForSpans-1, 3))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range p.Occupied {
		if o.Size() > gib {
			t.Errorf("%v, which nobody occupied", o)
		}
	}
	p, err = NewProfile([]string{"prog"}, Settings{}, simulate(1, 3))
	if err != nil || len(p.Occupied) == 0 || !p.Occupied[0].Random {
		t.Errorf("one run shows what is fixed: %v, %v", p.Occupied, err)
	}
	if _, err = NewProfile([]string{"prog"}, Settings{}, nil); !errors.Is(err, ErrProfile) {
		t.Errorf("no runs: %v", err)
	}
}

// drawRuns draws runs that are dense enough to overlap.
func drawRuns(t *rapid.T) [][]Mapping {
	mapping := rapid.Custom(func(t *rapid.T) Mapping {
		start := rapid.Uint64Range(0, 400).Draw(t, "start") * 0x7000
		return Mapping{Range: Range{start, start + rapid.Uint64Range(1, 100).Draw(t, "pages")*0x1000}}
	})
	run := rapid.SliceOfN(mapping, 0, 5)
	return rapid.SliceOfN(run, 1, 30).Draw(t, "runs")
}

func TestProfileProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		runs := drawRuns(t)
		p, err := NewProfile([]string{"prog"}, Settings{}, runs)
		if err != nil {
			t.Fatal(err)
		}
		all := newRangeSet(forbidden([]Occupant{p.Occupant("")}))
		for i, run := range runs {
			for _, m := range run {
				if !rangeSet(p.Runs[i]).overlaps(m.Range) || len(all.gaps(m.Range)) > 0 {
					t.Fatalf("%v of run %d: %v, in all %v", m, i, p.Runs[i], all)
				}
			}
			for j, r := range p.Runs[i] {
				if r.Start%Guard != 0 || r.End%Guard != 0 || j > 0 && r.Start-p.Runs[i][j-1].End < Resolution {
					t.Fatalf("run %d: %v", i, p.Runs[i])
				}
			}
		}
		for _, o := range p.Occupied {
			if hits := p.Collision(o.Range).Hits; o.Runs < 1 || hits < o.Runs || !o.Random && o.Runs != len(runs) {
				t.Fatalf("%v, hit by %d of %d", o, hits, len(runs))
			}
		}
	})
}

func TestCollisionCountsRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, err := NewProfile([]string{"prog"}, Settings{}, drawRuns(t))
		if err != nil {
			t.Fatal(err)
		}
		start := rapid.Uint64Range(0, 4<<20).Draw(t, "start")
		r := Range{start, start + rapid.Uint64Range(1, 1<<20).Draw(t, "size")}
		hits := 0
		for _, run := range p.Runs {
			if slices.ContainsFunc(run, r.Overlaps) {
				hits++
			}
		}
		if got := p.Collision(r); got != NewEstimate(hits, len(p.Runs)) {
			t.Fatalf("%v: %v, want %d hits", r, got, hits)
		}
	})
}

// The values in between are those of R's binom.test.
func TestEstimate(t *testing.T) {
	for _, test := range []struct {
		hits, runs int
		low, high  float64
		text       string
	}{
		{0, 0, 0, 1, "unknown"},
		{0, 200, 0, 1 - math.Pow(0.05, 1.0/200), "0 % (at most 1.49 %; 0 of 200 runs)"},
		{0, 1000, 0, 1 - math.Pow(0.05, 1.0/1000), "0 % (at most 0.299 %; 0 of 1000 runs)"},
		{30, 30, math.Pow(0.05, 1.0/30), 1, "100 % (at least 90.5 %; 30 of 30 runs)"},
		{5, 100, 0.01643, 0.11284, "5 % (1.64 % to 11.3 %; 5 of 100 runs)"},
		{1, 10, 0.00253, 0.44502, "10 % (0.253 % to 44.5 %; 1 of 10 runs)"},
		{-1, 10, 0, 1 - math.Pow(0.05, 0.1), "0 % (at most 25.9 %; 0 of 10 runs)"},
		{11, 10, math.Pow(0.05, 0.1), 1, "100 % (at least 74.1 %; 10 of 10 runs)"},
	} {
		e := NewEstimate(test.hits, test.runs)
		if math.Abs(e.Low-test.low) > 1e-5 || math.Abs(e.High-test.high) > 1e-5 || e.String() != test.text {
			t.Errorf("%d of %d: %v from %v to %v, want from %v to %v: %s", test.hits, test.runs, e, e.Low, e.High, test.low, test.high, test.text)
		}
	}
}

// Whatever the true probability is, at most 5 % of the surveys may miss it.
func TestEstimateCovers(t *testing.T) {
	const runs = 40
	for p := 0.01; p < 1; p += 0.01 {
		missed := 0.0
		for hits := range runs + 1 {
			if e := NewEstimate(hits, runs); p < e.Low || p > e.High {
				missed += atMost(hits, runs, p)
				if hits > 0 {
					missed -= atMost(hits-1, runs, p)
				}
			}
		}
		// Where the bound of one side alone takes the whole risk, the sides may add up to a little more.
		if missed > 0.075 {
			t.Errorf("probability %.2f is missed by %.3f", p, missed)
		}
	}
}

var exampleSettings = Settings{"linux", "amd64", 47, "6.18.0", 2, 28, 8 << 20}

func TestSettingsDiffer(t *testing.T) {
	if got := exampleSettings.Differ(exampleSettings); len(got) > 0 {
		t.Errorf("from itself: %q", got)
	}
	other := Settings{"linux", "amd64", 47, "6.12.0", 2, 32, 0}
	want := []string{"vm.mmap_rnd_bits was 28, is 32", "unlimited stack was false, is true"}
	if diff := cmp.Diff(want, exampleSettings.Differ(other)); diff != "" {
		t.Error(diff)
	}
	if now := CurrentSettings(); now.OS == "" || now.Arch == "" {
		t.Errorf("now: %+v", now)
	}
}

func TestCommandIsOneShortLine(t *testing.T) {
	p := &Profile{Program: []string{"sh", "-c", "echo \x1b[31m\n" + strings.Repeat("x", 100)}}
	if got := p.Command(); len(got) != 60 || !strings.HasPrefix(got, "sh -c echo ?[31m?xxx") || !strings.HasSuffix(got, "xx...") {
		t.Errorf("%q", got)
	}
}
