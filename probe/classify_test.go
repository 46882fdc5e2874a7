package probe

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// captured returns the mappings in testdata/maps/NAME.txt: /proc/PID/maps of a program on linux/amd64 with
// the default of 28 random bits, shortened, with its directories renamed.
func captured(t *testing.T, name string) *process {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "maps", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []Mapping
	for lines := bufio.NewScanner(f); lines.Scan(); {
		all = append(all, parseMapping(t, lines.Text()))
	}
	return study(all, linuxAMD64At28)
}

var linuxAMD64At28 = territoryOf("linux", "amd64", 47, 4096<<28)

// parseMapping reads a line of /proc/PID/maps.
func parseMapping(t *testing.T, line string) (m Mapping) {
	t.Helper()
	var device string
	n, err := fmt.Sscanf(line, "%x-%x %s %x %s %d", &m.Start, &m.End, &m.Perms, &m.Offset, &device, &m.Inode)
	if n != 6 {
		t.Fatalf("%q: %v", line, err)
	}
	if fields := strings.Fields(line); len(fields) > 5 {
		m.Path = strings.Join(fields[5:], " ")
	}
	return m
}

// classesOf are the classes of all mappings in each captured map, looked through by hand.
var classesOf = map[string]map[string]int{
	"c-asan": {
		"anonymous memory (random)":                  14,
		"kernel page (fixed)":                        1,
		"kernel page (random)":                       3,
		"library (random)":                           11,
		"position-independent program (random)":      5,
		"sanitizer memory (AddressSanitizer, fixed)": 25,
		"stack (random)":                             1,
	},
	"c-msan": {
		"anonymous memory (random)":                 9,
		"kernel page (fixed)":                       1,
		"kernel page (random)":                      3,
		"library (random)":                          11,
		"position-independent program (random)":     6,
		"sanitizer memory (MemorySanitizer, fixed)": 15,
		"stack (random)":                            1,
	},
	"c-nopie": {
		"anonymous memory (random)":          2,
		"brk heap (random)":                  1,
		"kernel page (fixed)":                1,
		"kernel page (random)":               3,
		"library (random)":                   11,
		"program at a fixed address (fixed)": 5,
		"stack (random)":                     1,
	},
	"c-pie": {
		"anonymous memory (random)":             2,
		"brk heap (random)":                     1,
		"kernel page (fixed)":                   1,
		"kernel page (random)":                  3,
		"library (random)":                      11,
		"position-independent program (random)": 5,
		"stack (random)":                        1,
	},
	"c-tsan": {
		"anonymous memory (random)":                 14,
		"kernel page (fixed)":                       1,
		"kernel page (random)":                      3,
		"library (random)":                          11,
		"position-independent program (random)":     5,
		"sanitizer memory (ThreadSanitizer, fixed)": 49,
		"stack (random)":                            1,
	},
	"go-pie": {
		"Go heap (random)":                      3,
		"anonymous memory (random)":             18,
		"kernel page (fixed)":                   1,
		"kernel page (random)":                  3,
		"library (random)":                      4,
		"position-independent program (random)": 5,
		"stack (random)":                        1,
	},
	"go-race": {
		"Go heap (fixed)":                            2,
		"anonymous memory (glibc malloc, random)":    8,
		"anonymous memory (random)":                  32,
		"brk heap (random)":                          1,
		"kernel page (fixed)":                        1,
		"kernel page (random)":                       3,
		"library (random)":                           11,
		"program at a fixed address (fixed)":         4,
		"sanitizer memory (Go race detector, fixed)": 4,
		"stack (random)":                             1,
	},
	"go-static": {
		"Go heap (random)":                   3,
		"anonymous memory (random)":          18,
		"kernel page (fixed)":                1,
		"kernel page (random)":               3,
		"program at a fixed address (fixed)": 4,
		"stack (random)":                     1,
	},
	"java-g1": {
		"Java heap (fixed)":                       7,
		"anonymous memory (glibc malloc, random)": 18,
		"anonymous memory (random)":               91,
		"brk heap (random)":                       1,
		"generated code (random)":                 3,
		"kernel page (fixed)":                     1,
		"kernel page (random)":                    3,
		"library (random)":                        17,
		"mapped file (random)":                    4,
		"position-independent program (random)":   5,
		"stack (random)":                          1,
	},
	"java-zgc": {
		"Java heap (ZGC, fixed)":                  6,
		"anonymous memory (glibc malloc, random)": 12,
		"anonymous memory (random)":               91,
		"brk heap (random)":                       1,
		"generated code (random)":                 3,
		"kernel page (fixed)":                     1,
		"kernel page (random)":                    3,
		"library (random)":                        17,
		"mapped file (random)":                    4,
		"position-independent program (random)":   5,
		"stack (random)":                          1,
	},
	"luajit": {
		"anonymous memory (random)":             2,
		"brk heap (random)":                     1,
		"generated code (random)":               1,
		"kernel page (fixed)":                   1,
		"kernel page (random)":                  3,
		"library (random)":                      11,
		"position-independent program (random)": 5,
		"stack (random)":                        1,
	},
	"node": {
		"V8 heap (random)":                        60,
		"anonymous memory (glibc malloc, random)": 8,
		"anonymous memory (random)":               24,
		"brk heap (random)":                       1,
		"generated code (random)":                 1,
		"kernel page (fixed)":                     1,
		"kernel page (random)":                    3,
		"library (random)":                        12,
		"program at a fixed address (fixed)":      8,
		"stack (random)":                          1,
	},
	"python": {
		"anonymous memory (random)":             10,
		"brk heap (random)":                     1,
		"kernel page (fixed)":                   1,
		"kernel page (random)":                  3,
		"library (random)":                      11,
		"mapped file (random)":                  1,
		"position-independent program (random)": 5,
		"stack (random)":                        1,
	},
}

func TestClassifyCaptured(t *testing.T) {
	for name, want := range classesOf {
		p, got := captured(t, name), make(map[string]int)
		for _, m := range p.all {
			c := p.classify(m)
			if got[c.String()]++; c.Reason == "" {
				t.Errorf("%s: %v: no reason for %v", name, m, c)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestClassifyMade has what no program here shows.
func TestClassifyMade(t *testing.T) {
	tests := map[string]struct {
		maps string // the mapping in question comes last
		want string
	}{
		"heap":           {"550000000000-550040000000 rw-s 00000000 00:01 5 /dev/shm/shmheap-0/orders.heap", "shared heap (fixed)"},
		"heap elsewhere": {"550000000000-550040000000 rw-s 00000000 00:01 5 /var/lib/a b/orders.heap (deleted)", "shared heap (fixed)"},
		"anonymous heap": {"550000000000-550040000000 rw-s 00000000 00:01 5 /memfd:shmheap (deleted)", "shared heap (fixed)"},
		"another memfd":  {"550000000000-550040000000 rw-s 00000000 00:01 5 /memfd:x (deleted)", "shared memory (unknown)"},
		"System V":       {"7f0000000000-7f0040000000 rw-s 00000000 00:01 5 /SYSV00000000 (deleted)", "shared memory (random)"},
		"guard": {
			"550000000000-550040000000 rw-s 00000000 00:01 5 /memfd:shmheap (deleted)\n550040000000-550040010000 ---p 00000000 00:00 0",
			"guard of a shared heap (fixed)",
		},
		"launcher":             {"550040000000-550080000000 ---p 00000000 00:00 0", "reserved range (fixed)"},
		"stamp":                {"550040000000-550080000000 ---p 00300000 00:01 7 /opt/app/a", "reserved range (stamped program, fixed)"},
		"Go names its heap":    {"36ecd0000000-36ecd0001000 rw-p 00000000 00:00 0 [anon: Go: heap]", "Go heap (random)"},
		"TSan of LLVM 18":      {"20000000000-100000000000 rw-p 00000000 00:00 0\n100000000000-300000000000 ---p 00000000 00:00 0", "sanitizer memory (ThreadSanitizer, fixed)"},
		"unknown shadow":       {"400000000000-420000000000 rw-p 00000000 00:00 0", "sanitizer memory (which one is not known, unknown)"},
		"anywhere":             {"600000000000-600000100000 rw-p 00000000 00:00 0", "anonymous memory (unknown)"},
		"code anywhere":        {"600000000000-600000100000 rwxp 00000000 00:00 0", "generated code (unknown)"},
		"LuaJIT":               {"555516000000-555516010000 r-xp 00000000 00:00 0", "generated code (random)"},
		"stack of a thread":    {"7f0000000000-7f0000100000 rw-p 00000000 00:00 0 [stack:12]", "stack (random)"},
		"brk of a fixed image": {"1234000-1255000 rw-p 00000000 00:00 0 [heap]", "brk heap (random)"},
		"without randomisation": {
			"555555554000-555555556000 r-xp 00000000 00:01 7 /opt/app/a\n7ffff7d00000-7ffff7e00000 r-xp 00000000 00:01 8 /usr/lib/libc.so.6",
			"library (fixed)",
		},
	}
	for name, test := range tests {
		var all []Mapping
		for line := range strings.SplitSeq(test.maps, "\n") {
			all = append(all, parseMapping(t, line))
		}
		if got := study(all, linuxAMD64At28).classify(all[len(all)-1]); got.String() != test.want {
			t.Errorf("%s: %v, want %s", name, got, test.want)
		}
	}
}

// TestAgain holds the chances against those that were measured over thousands of starts (2 TiB and 64 GiB
// of heap in the random zone), and against what is certain.
func TestAgain(t *testing.T) {
	tests := map[string]struct {
		program   string
		span      Range
		low, high float64
	}{
		"Go, 64 GiB":               {"go-static", Range{0x1658_0000_0000, 0x1668_0000_0000}, 0.0009, 0.0015},
		"Go, 1 TiB":                {"go-static", Range{0x1600_0000_0000, 0x1700_0000_0000}, 0.014, 0.018},
		"Go, 16 TiB":               {"go-static", Range{0x1000_0000_0000, 0x2000_0000_0000}, 0.22, 0.28},
		"Go with -race":            {"go-race", Range{0xc0_0000_0000, 0xd0_0000_0000}, 1, 1},
		"node, 1 TiB":              {"node", Range{0x2600_0000_0000, 0x2700_0000_0000}, 0.55, 0.72},
		"Java":                     {"java-g1", Range{0x7_0000_0000, 0x8_0000_0000}, 1, 1},
		"PIE over half of 1 TiB":   {"c-pie", Range{0x55d5_5555_4000, 0x5655_5555_4000}, 0.45, 0.55},
		"libraries and everything": {"c-pie", Range{0x7e00_0000_0000, 0x7fff_0000_0000}, 0.9, 1},
	}
	for name, test := range tests {
		conflicts := captured(t, test.program).conflicts(test.span)
		chance := math.Inf(-1)
		for _, c := range conflicts {
			chance = max(chance, c.Again)
		}
		if chance < test.low || chance > test.high {
			t.Errorf("%s: %v meets it again with %g, want %g to %g: %v", name, test.span, chance, test.low, test.high, conflicts)
		}
	}
}

// TestConflictsOfSelf: the program that runs this is found in its own way.
func TestConflictsOfSelf(t *testing.T) {
	all, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	conflicts := Conflicts(Range{0, math.MaxUint64}, all)
	if len(conflicts) != len(all) {
		t.Errorf("%d of %d mappings overlap all addresses", len(conflicts), len(all))
	}
	if got := Classify(all[0], all); got.String() != conflicts[0].Class.String() {
		t.Errorf("%v and %v", got, conflicts[0].Class)
	}
	if len(Conflicts(Range{}, all)) != 0 {
		t.Error("something overlaps nothing")
	}
}

// FuzzClassify answers for any mappings, in any order.
func FuzzClassify(f *testing.F) {
	f.Add(uint64(0xc0_0000_0000), uint64(goArena), "rw-p", "", uint64(0), uint64(0x5500_0000_0000))
	f.Add(uint64(math.MaxUint64-1), uint64(1), "", "[heap]", uint64(1), uint64(0))
	f.Fuzz(func(t *testing.T, start, size uint64, perms, path string, inode, span uint64) {
		all := []Mapping{
			{Range{start, start + size}, perms, 0, inode, path},
			{Range{start + size, start + 2*size}, perms, 1, inode, path},
			{Range{span, span + size}, perms, 0, 0, ""},
		}
		for _, c := range study(all, linuxAMD64At28).conflicts(Range{span, span + 1<<40}) {
			if c.Again > 1 || c.Class.Kind == "" {
				t.Errorf("%v: again with %g", c, c.Again)
			}
		}
	})
}
