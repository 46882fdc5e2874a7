package probe

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/shmheap/shmheap/internal/sys"
)

// Resolution is the detail of a profile in bytes: what lies closer together in one run counts as one
// range, and ranges grow to multiples of Guard. So a profile may say that an address was occupied that
// was not, but never the reverse.
const Resolution = 1 << 20

// Profile tells which addresses a program occupied in a number of runs. It is read-only once made, so
// any number of goroutines may share it.
type Profile struct {
	Program   []string   // the command line
	Made      time.Time  // when the survey was
	Settings  Settings   // of the system on which it was
	Runs      [][]Range  // what each run occupied: ascending, Resolution apart
	Occupied  []Occupied // what that comes to: fixed ranges first, then random ones, each ascending
	Unsettled int        // how many of the runs were taken at their time limit, before they were quiet
	Ended     int        // how many more runs ended by themselves; they tell nothing and are not in Runs
}

// Occupied is a range that a program occupied. A fixed one was occupied in every run, whole. A random
// one is a span: in each of Runs runs a part of it was, another one each time.
type Occupied struct {
	Range
	Runs   int
	Random bool     // as opposed to fixed
	Names  []string // of what was there, the most frequent first, at most 3
}

// Settings are what decides where a system puts the mappings of a program.
type Settings struct {
	OS         string // GOOS
	Arch       string // GOARCH
	Bits       int    // width of an address, 0 where it is not known
	Kernel     string // release
	Randomise  int64  // sysctl kernel.randomize_va_space, -1 where it is not known
	RandomBits int64  // sysctl vm.mmap_rnd_bits, -1 where it is not known
	StackLimit int64  // RLIMIT_STACK in bytes, 0 for unlimited, -1 where it is not known
}

// CurrentSettings returns the settings of this system, for programs that this process starts.
func CurrentSettings() Settings {
	s := sys.CurrentSettings()
	return Settings{runtime.GOOS, runtime.GOARCH, addressBits(), s.Kernel, s.Randomise, s.RandomBits, s.StackLimit}
}

// Differ tells in words where s and now differ in a way that can make a profile say nothing about
// programs that are started now. The release of the kernel is none of them.
func (s Settings) Differ(now Settings) []string {
	var words []string
	for _, v := range []struct {
		name      string
		then, now any
	}{
		{"system", s.OS, now.OS}, {"architecture", s.Arch, now.Arch}, {"address bits", s.Bits, now.Bits},
		{"kernel.randomize_va_space", s.Randomise, now.Randomise}, {"vm.mmap_rnd_bits", s.RandomBits, now.RandomBits},
		{"unlimited stack", s.StackLimit == 0, now.StackLimit == 0},
	} {
		if v.then != v.now {
			words = append(words, fmt.Sprintf("%s was %v, is %v", v.name, v.then, v.now))
		}
	}
	return words
}

// ErrProfile: a file is no profile, or a damaged one.
var ErrProfile = errors.New("not a valid occupancy profile")

// NewProfile makes a profile of what each run of a program had mapped. It needs one run at least; with
// none the error is ErrProfile.
func NewProfile(program []string, settings Settings, runs [][]Mapping) (*Profile, error) {
	if len(runs) == 0 {
		return nil, fmt.Errorf("%w: no runs", ErrProfile)
	}
	p := &Profile{Program: program, Settings: settings}
	for _, mappings := range runs {
		ranges := make([]Range, len(mappings))
		for i, m := range mappings {
			ranges[i] = m.Range
		}
		p.Runs = append(p.Runs, coarse(ranges))
	}
	p.Occupied = summarise(p.Runs)
	p.name(runs)
	return p, nil
}

// coarse merges what lies closer together than Resolution.
func coarse(ranges []Range) []Range {
	wide := slices.Clone(ranges)
	for i := range wide {
		wide[i].Start -= wide[i].Start % Guard
		wide[i].End = roundUp(wide[i].End, Guard)
	}
	var merged []Range
	for _, r := range newRangeSet(wide) {
		if last := len(merged) - 1; last >= 0 && r.Start-merged[last].End < Resolution {
			merged[last].End = r.End
		} else {
			merged = append(merged, r)
		}
	}
	return merged
}

// name gives the ranges the names of the mappings in them.
func (p *Profile) name(runs [][]Mapping) {
	counts := make([]map[string]int, len(p.Occupied))
	for i := range counts {
		counts[i] = make(map[string]int)
	}
	for _, mappings := range runs {
		for _, m := range mappings {
			if i := p.owner(m.Range); i >= 0 {
				counts[i][cmp.Or(m.Path, anonymous)]++
			}
		}
	}
	for i := range p.Occupied {
		p.Occupied[i].Names = mostFrequent(counts[i], 3)
	}
}

// owner returns the index of the range that r lies in, the narrowest, or -1.
func (p *Profile) owner(r Range) int {
	found := -1
	for i, o := range p.Occupied {
		if o.Overlaps(r) && (found < 0 || o.Size() < p.Occupied[found].Size()) {
			found = i
		}
	}
	return found
}

// mostFrequent returns the n names with the highest counts.
func mostFrequent(counts map[string]int, n int) []string {
	var names []string
	for name := range counts {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	return names[:min(n, len(names))]
}

// Collision estimates how probable it is that a run of the program occupies part of r. It stands for
// programs started in the same way, on a system with the same settings.
func (p *Profile) Collision(r Range) Estimate {
	hits := 0
	for _, run := range p.Runs {
		if rangeSet(run).overlaps(r) {
			hits++
		}
	}
	return NewEstimate(hits, len(p.Runs))
}

// Occupant makes an occupant of the program. The name is that by which people know the profile, such
// as its file.
func (p *Profile) Occupant(name string) Occupant {
	o := Occupant{Name: fmt.Sprintf("profile %s (%s)", printable(name), p.Command()), Profile: p}
	for _, occupied := range p.Occupied {
		what := cmp.Or(printable(strings.Join(occupied.Names, ", ")), "something")
		o.Obstacles = append(o.Obstacles, Obstacle{occupied.Range, what, occupied.Random, occupied.Runs})
	}
	slices.SortFunc(o.Obstacles, func(a, b Obstacle) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End))
	})
	return o
}

// Command returns the command line for people: on one line, and not longer than 60 letters.
func (p *Profile) Command() string {
	text := []rune(printable(strings.Join(p.Program, " ")))
	if len(text) > 60 {
		text = append(text[:57], []rune("...")...)
	}
	return string(text)
}

// printable replaces what a terminal would not print as it is.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\uFFFD' {
			return '?'
		}
		return r
	}, s)
}
