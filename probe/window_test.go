package probe

import (
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
	"pgregory.net/rapid"
)

const (
	gib = 1 << 30
	tib = 1 << 40
)

// A layout is an address space for which there are windows.
type layout struct {
	goos, goarch string
	bits         int // of an address
	windows      []Window
}

func (l layout) String() string { return fmt.Sprintf("%s/%s-%d", l.goos, l.goarch, l.bits) }

func layouts() []layout {
	all := []layout{
		{"linux", "amd64", 47, nil},
		{"linux", "arm64", 48, nil}, {"linux", "arm64", 47, nil}, {"linux", "arm64", 42, nil}, {"linux", "arm64", 39, nil},
		{"linux", "riscv64", 47, nil}, {"linux", "riscv64", 38, nil},
		{"darwin", "amd64", 47, nil}, {"darwin", "arm64", 47, nil},
	}
	for i, l := range all {
		all[i].windows = windowsFor(l.goos, l.goarch, l.bits)
	}
	return all
}

func TestWindowsAreWellFormed(t *testing.T) {
	for _, l := range layouts() {
		t.Run(l.String(), func(t *testing.T) {
			if len(l.windows) < 2 {
				t.Errorf("%d windows, want one to fall back to", len(l.windows))
			}
			names := make(map[string]bool)
			for i, w := range l.windows {
				if w.Start >= w.End || w.End > 1<<l.bits || w.Start%Guard != 0 || w.End%Guard != 0 {
					t.Errorf("%s: %v", w.Name, w.Range)
				}
				if w.Name == "" || w.Reason == "" || names[w.Name] {
					t.Errorf("window %d: name %q, reason %q", i, w.Name, w.Reason)
				}
				names[w.Name] = true
				if _, _, cells := w.grid(gib); cells == 0 {
					t.Errorf("%s: no room for 1 GiB", w.Name)
				}
				for _, other := range l.windows[:i] {
					if w.Overlaps(other.Range) {
						t.Errorf("%s overlaps %s", w.Name, other.Name)
					}
				}
			}
		})
	}
}

func TestWindowsForOddWidths(t *testing.T) {
	for _, test := range []struct {
		goarch    string
		bits, are int
	}{
		{"amd64", 0, 47}, {"amd64", 56, 47},
		{"arm64", 0, 48}, {"arm64", 52, 48}, {"arm64", 46, 47}, {"arm64", 40, 42}, {"arm64", 36, 39},
		{"riscv64", 0, 47}, {"riscv64", 39, 38}, {"riscv64", 56, 47},
	} {
		if got, want := windowsFor("linux", test.goarch, test.bits), windowsFor("linux", test.goarch, test.are); !slices.Equal(got, want) {
			t.Errorf("%s with %d bits differs from %d bits", test.goarch, test.bits, test.are)
		}
	}
	if got := windowsFor("plan9", "amd64", 47); got != nil {
		t.Errorf("plan9: %v", got)
	}
}

func TestWindowsAreOfThisSystem(t *testing.T) {
	got := Windows()
	if len(got) == 0 {
		shmtest.SkipAnywhere(t, fmt.Sprintf("no windows are known for %s/%s", runtime.GOOS, runtime.GOARCH))
	}
	got[0].Name = "changed"
	if Windows()[0].Name == "changed" {
		t.Error("a caller can change the windows")
	}
}

// A zone is what somebody uses, or may use, of an address space.
type zones map[string][]Range

// linuxAMD64Zones were measured (M) on Linux 6.18 with 28 random bits, or read in the source named.
var linuxAMD64Zones = zones{
	"program and brk":     {{0, 0x4200_0000 + gib}},                                                         // M
	"DPDK":                {{0x1_0000_0000, 0x2_0000_0000}},                                                 // eal_get_baseaddr
	"Java":                {{0x6_4740_0000, 0x9_0000_0000}},                                                 // M: compressed oops, CDS
	"SBCL":                {{0x5000_0000, 0x6000_0000}, {0x10_0000_0000, 0x10_4000_0000}},                   // M
	"ASan shadow":         {{0x7fff_7000, 0x1000_7fff_8000}},                                                // asan_mapping.h
	"ASan allocator":      {{0x6000_0000_0000, 0x6400_0000_2000}},                                           // M
	"TSan shadow":         {{0x80_0000_0000, 0x5500_0000_0000}},                                             // tsan_platform.h
	"TSan heap":           {{0x5680_0000_0000, 0x7e80_0000_0000}},                                           // tsan_platform.h
	"MSan shadow":         {{0x100_0000_0000, 0x5100_0000_0000}, {0x6000_0000_0000, 0x7400_0000_0000}},      // msan.h
	"Go heap":             {{0, 1 << 46}},                                                                   // runtime/malloc.go, Go 1.26; V8 likewise
	"Go -race heap":       {{0xc0_0000_0000, 0xe0_0000_0000}},                                               // runtime/malloc.go
	"Go -race shadow":     {{0x2000_0000_0000, 0x21c0_0000_0000}, {0x3000_0000_0000, 0x4000_0000_0000}},     // M
	"mimalloc":            {{2 * tib, 32 * tib}},                                                            // src/os.c
	"ZGC":                 {{4 * tib, 5 * tib}, {8 * tib, 9 * tib}, {16 * tib, 17 * tib}},                   // M
	"SPDK":                {{0x2000_0000_0000, 0x2001_0000_0000}},                                           // env_dpdk/init.c
	"unlimited stack":     {{0x1454_0000_0000, 0x1555_5555_5000}},                                           // M: ulimit -s unlimited
	"legacy mmap":         {{0x2aaa_aaaa_a000, 0x2aaa_aaaa_a000 + tib}},                                     // M: setarch -L
	"LuaJIT":              {{0x5555_5555_4000 - gib, 0x5555_5555_4000}},                                     // M
	"PIE":                 {{0x5555_5555_4000, 0x5555_5555_4000 + tib}},                                     // M
	"PIE, 32 random bits": {{0x5555_5555_4000, 0x5555_5555_4000 + 16*tib}},                                  // fs/binfmt_elf.c
	"mmap and stack":      {{0x7fff_ffff_f000 - 16*tib, 0x7fff_ffff_f000}},                                  // arch/x86/mm/mmap.c
	"TCMalloc":            tcmallocTags(0, 2, 3, 4, 6),                                                      // memory_tag.h
	"bases in use":        {{0x1000_0000_0000, 0x1000_0000_0000 + gib}, {0x200_0000_0000, 0x201_0000_0000}}, // octeontx, mimalloc
}

// tcmallocTags returns where (address >> 42) & 7 is one of tags.
func tcmallocTags(tags ...uint64) (ranges []Range) {
	for n := uint64(0); n < 1<<5; n++ {
		if slices.Contains(tags, n&7) {
			ranges = append(ranges, Range{n << 42, (n + 1) << 42})
		}
	}
	return ranges
}

func pie(base uint64, bits int) zones {
	return zones{"PIE": {{base, base + 1<<(bits-3)}}}
}

func with(all ...zones) zones {
	sum := make(zones)
	for _, z := range all {
		maps.Copy(sum, z)
	}
	return sum
}

var darwinZones = zones{
	"program":        {{0, 0x1_8000_0000}},
	"V8":             {{0x10_0000_0000, 0x50_0000_0000}},
	"Go -race heap":  {{0xc0_0000_0000, 0xe0_0000_0000}},
	"nano malloc":    {{0x6000_0000_0000, 0x7000_0000_0000}},
	"TSan shadow":    {{0x1000_0000_0000, 0x3800_0000_0000}},
	"ASan shadow":    {{0x1000_0000_0000, 0x2000_0000_0000}},
	"hardened tasks": {{0x6100_0000_0000, 0x7f00_0000_0000}},
}

// TestWindowsAvoid holds what the reasons of the windows claim against the zones.
func TestWindowsAvoid(t *testing.T) {
	tests := []struct {
		goos, goarch string
		bits         int
		zones        zones
		enters       map[string][]string // by window, the zones that it does not claim to avoid
	}{
		{"linux", "amd64", 47, linuxAMD64Zones, map[string][]string{
			"below-pie":     {},
			"msan-app":      {"TSan shadow", "TCMalloc"},
			"above-go-heap": {"TSan shadow", "MSan shadow", "TCMalloc"},
			"low":           {"ASan shadow", "Go heap", "TCMalloc"},
			"random-zone": {"ASan shadow", "TSan shadow", "MSan shadow", "Go heap", "Go -race shadow", "mimalloc", "ZGC",
				"SPDK", "unlimited stack", "legacy mmap", "TCMalloc", "bases in use"},
		}},
		{"linux", "arm64", 48, with(pie(0xaaaa_aaaa_a000, 48), zones{
			"Go heap":     {{0, 1 << 47}},
			"TSan shadow": {{0x1000_0000_0000, 0xa000_0000_0000}},
			"MSan app":    {{0xaaaa_a000_0000, 0xaaab_0000_0000}},
		}), map[string][]string{
			"below-pie": {}, "tsan-app": {}, "above-go-heap": {"TSan shadow"},
		}},
		{"linux", "arm64", 47, pie(0x5555_5555_0000, 47), map[string][]string{"below-pie": {}, "far-below-pie": {}}},
		{"linux", "arm64", 42, with(pie(0x2aa_aaaa_a000, 42), zones{
			"TSan app":    {{0x2aa_0000_0000, 0x2ab_0000_0000}},
			"ASan shadow": {{0x10_0000_0000, 0x90_0000_0000}}, // 2^36, an eighth of the address space
		}), map[string][]string{"below-pie": {}, "far-below-pie": {}}},
		{"linux", "arm64", 39, with(pie(0x55_5555_5000, 39), zones{
			"ASan shadow": {{0x10_0000_0000, 0x20_0000_0000}},
			"TSan shadow": {{0x20_0000_0000, 0x48_0000_0000}},
		}), map[string][]string{"below-pie": {}, "far-below-pie": {}}},
		{"linux", "riscv64", 47, pie(0x5555_5555_5000, 47), map[string][]string{"below-pie": {}, "far-below-pie": {}}},
		{"linux", "riscv64", 38, pie(0x2a_aaaa_a000, 38), map[string][]string{"below-pie": {}, "far-below-pie": {}}},
		{"darwin", "amd64", 47, with(darwinZones, zones{
			"Go heap":       {{0, 1 << 46}},
			"shared region": {{0x7ff7_0000_0000, 0x7fff_ffe0_0000}},
			"threads":       {{0x7000_0000_0000, 0x7001_0000_0000}},
		}), map[string][]string{"mid-app": {}, "postgresql": {"Go heap"}}},
		{"darwin", "arm64", 47, with(darwinZones, zones{
			"shared region": {{0x1_8000_0000, 0x3_0000_0000}},
			"commpage":      {{0xf_c000_0000, 0x10_0000_0000}},
			"GPU":           {{0x10_0000_0000, 0x70_0000_0000}},
		}), map[string][]string{"mid-app": {}, "postgresql": {}}},
	}
	for _, test := range tests {
		l := layout{test.goos, test.goarch, test.bits, windowsFor(test.goos, test.goarch, test.bits)}
		for _, w := range l.windows {
			want, listed := test.enters[w.Name]
			if !listed {
				t.Errorf("%v: nothing is said of %s", l, w.Name)
			}
			if got := test.zones.entered(w.Range); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
				t.Errorf("%v: %s enters %v, want %v", l, w.Name, strings.Join(got, ", "), want)
			}
		}
	}
}

// entered returns the names of the zones that r overlaps.
func (z zones) entered(r Range) []string {
	var names []string
	for name, ranges := range z {
		if slices.ContainsFunc(ranges, r.Overlaps) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestBases(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Uint64Range(1, 1<<20).Draw(t, "start") * Guard
		w := Window{Range: Range{start, start + rapid.Uint64Range(1, 100*Slot/Guard).Draw(t, "granules")*Guard}}
		size := rapid.Uint64Range(1, 5*Slot/Guard).Draw(t, "size") * Guard
		var seen []Range
		for base := range w.bases(size, rapid.String().Draw(t, "key")) {
			guarded := Range{base - Guard, base + size + Guard}
			if base%Slot != 0 || guarded.Start < w.Start || guarded.End > w.End {
				t.Fatalf("%#x bytes at %#x in %v", size, base, w.Range)
			}
			if slices.ContainsFunc(seen, guarded.Overlaps) {
				t.Fatalf("%v overlaps one of %v", guarded, seen)
			}
			seen = append(seen, guarded)
		}
		if room := w.Size() >= 2*Slot+size+Guard; room && len(seen) == 0 {
			t.Fatalf("no place for %#x bytes in %v", size, w.Range)
		}
	})
}

func TestBasesOfExtremeSizes(t *testing.T) {
	w := Window{Range: Range{0x5500_0000_0000, 0x5550_0000_0000}}
	for _, size := range []uint64{w.Size(), w.Size() - Slot, math.MaxUint64, math.MaxUint64 - Guard, 1 << 63} {
		for base := range w.bases(size, "") {
			t.Errorf("%#x bytes at %#x", size, base)
		}
	}
	largest := w.Size() - Slot - Guard
	if got := slices.Collect(w.bases(largest, "any")); !slices.Equal(got, []uint64{w.Start + Slot}) {
		t.Errorf("%#x bytes at %#x", largest, got)
	}
}

func TestKeysSpreadOverTheWindow(t *testing.T) {
	w := linuxAMD64[0]
	const keys = 100
	starts := make(map[uint64]bool)
	for i := range keys {
		for base := range w.bases(gib, fmt.Sprintf("0/heap%d", i)) {
			starts[base] = true
			break
		}
	}
	_, _, cells := w.grid(gib)
	expected := float64(cells) * (1 - math.Pow(1-1/float64(cells), keys)) // distinct among uniform draws
	if float64(len(starts)) < expected*0.8 {
		t.Errorf("%d keys start at %d places of %d, want about %.0f", keys, len(starts), cells, expected)
	}
}
