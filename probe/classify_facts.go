package probe

import (
	"path"
	"sort"
	"strings"
)

// process is what the mappings of a process tell about it as a whole.
type process struct {
	all       []Mapping
	territory territory
	lowest    map[string]uint64 // by path: the first address of a file
	code      map[string]bool   // by path: part of the file may be executed
	runs      []Range           // of each mapping: anonymous private memory that touches it, or itself
	sanitizer *sanitizer
	java, v8  bool
	// unrandom: the program lies exactly where it does without address randomisation (setarch -R).
	unrandom bool
}

// study looks at all mappings of a process once.
func study(all []Mapping, t territory) *process {
	p := &process{all: all, territory: t, lowest: make(map[string]uint64), code: make(map[string]bool)}
	pages := 0
	for _, m := range all {
		if m.Inode != 0 {
			p.file(m)
		}
		if looksLikeV8Page(m, t) {
			pages++
		}
	}
	p.v8 = p.v8 || pages >= manyV8Pages
	p.runs = runsOf(all)
	p.sanitizer = sanitizerOf(p)
	return p
}

// file notes what a mapping of a file says.
func (p *process) file(m Mapping) {
	if _, known := p.lowest[m.Path]; !known {
		p.lowest[m.Path] = m.Start
	}
	p.code[m.Path] = p.code[m.Path] || isCode(m)
	p.unrandom = p.unrandom || m.Start == p.territory.pieBase && m.Offset == 0
	switch name := path.Base(m.Path); {
	case strings.HasPrefix(name, "libjvm."):
		p.java = true
	case v8Programs[name]:
		p.v8 = true
	}
}

// v8Programs are known to contain V8.
var v8Programs = map[string]bool{"node": true, "nodejs": true, "chrome": true, "chromium": true, "electron": true, "deno": true, "d8": true}

// A page of V8's heap is 256 KiB and lies at a multiple of that. A process with V8 in it has dozens,
// and others hardly have any so far below the rest of their memory.
const (
	v8Page      = 256 << 10
	manyV8Pages = 8
)

func looksLikeV8Page(m Mapping, t territory) bool {
	return isAnonymous(m) && m.Start%v8Page == 0 && m.Size() <= 2*v8Page && m.Start > 1<<32 && t.heaps.Contains(m.Start)
}

func isCode(m Mapping) bool { return len(m.Perms) == 4 && m.Perms[2] == 'x' }

// isAnonymous reports whether m is private memory without a file or a name of the kernel. A name of
// the program's own does not matter.
func isAnonymous(m Mapping) bool {
	return m.Inode == 0 && (m.Path == "" || strings.HasPrefix(m.Path, "[anon:")) && strings.HasSuffix(m.Perms, "p")
}

// runsOf returns for each mapping the range of the anonymous ones that touch each other around it.
func runsOf(all []Mapping) []Range {
	runs := make([]Range, len(all))
	for first := 0; first < len(all); {
		end := first + 1
		for end < len(all) && isAnonymous(all[first]) && isAnonymous(all[end]) && all[end].Start == all[end-1].End {
			end++
		}
		for i := first; i < end; i++ {
			runs[i] = Range{all[first].Start, all[end-1].End}
		}
		first = end
	}
	return runs
}

// index returns the place of the first mapping that ends behind addr, len(all) if there is none.
func (p *process) index(addr uint64) int {
	return sort.Search(len(p.all), func(i int) bool { return p.all[i].End > addr })
}

// run returns the anonymous memory without gaps that m is part of, or m.
func (p *process) run(m Mapping) Range {
	if i := p.index(m.Start); i < len(p.all) && p.all[i].Contains(m.Start) {
		return p.runs[i] // a mapping that grew since m was looked at is the same one
	}
	return m.Range
}

// before returns the mapping that ends where m starts.
func (p *process) before(m Mapping) (Mapping, bool) {
	i := p.index(m.Start) - 1
	if i < 0 || p.all[i].End != m.Start {
		return Mapping{}, false
	}
	return p.all[i], true
}

// starts reports whether a mapping starts at addr.
func (p *process) starts(addr uint64) bool {
	i := p.index(addr)
	return i < len(p.all) && p.all[i].Start == addr
}

// A sanitizer owns fixed ranges of the address space. Which one is at work is told by addresses at
// which only it has something.
type sanitizer struct {
	owner string
	shows []uint64 // a mapping starts at each of these
	owns  []Range
}

// sanitizers are those of linux/amd64, from asan_mapping.h, msan.h and tsan_platform.h of compiler-rt
// and from Go's race detector; the maps in testdata show them. The order matters: Go with -msan starts
// its heap where it does with -race.
var sanitizers = []sanitizer{
	{"AddressSanitizer", []uint64{0x7fff7000}, []Range{{0x7fff7000, 0x10007fff8000}, {0x6000_0000_0000, 0x6400_0001_0000}}},
	{
		"MemorySanitizer", []uint64{0x100_0000_0000, 0x1000_0000_0000, 0x5000_0000_0000},
		[]Range{{0x100_0000_0000, 0x5100_0000_0000}, {0x6000_0000_0000, 0x7400_0001_0000}},
	},
	{"ThreadSanitizer", []uint64{0x80_0000_0000, 0x100_0000_0000}, []Range{{0x80_0000_0000, 0x5500_0000_0000}, {0x5680_0000_0000, 0x7e80_0000_0000}}},
	{"ThreadSanitizer", []uint64{0x200_0000_0000, 0x1000_0000_0000}, []Range{{0x200_0000_0000, 0x5500_0000_0000}, {0x5a00_0000_0000, 0x7e80_0000_0000}}},
	{raceDetector, []uint64{goFixedHeap, 0x3060_0000_0000}, []Range{{0x2000_0000_0000, 0x21c0_0000_0000}, {0x3000_0000_0000, 0x4000_0000_0000}}},
}

// goFixedHeap is where Go starts its heap under a sanitizer, and did always before Go 1.26.
const goFixedHeap = 0xc0_0000_0000

func sanitizerOf(p *process) *sanitizer {
	for i := range sanitizers {
		s, shown := &sanitizers[i], p.territory.amd64
		for _, addr := range s.shows {
			shown = shown && p.starts(addr)
		}
		if shown {
			return s
		}
	}
	return nil
}
