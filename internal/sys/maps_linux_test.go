package sys

import (
	"fmt"
	"math/bits"
	"runtime"
	"slices"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

func TestTopFinder(t *testing.T) {
	stack := Mapping{Start: 0x7ffc1f4b8000, End: 0x7ffc1f4d9000, Path: "[stack]"}
	vsyscall := Mapping{Start: 0xffffffffff600000, End: 0xffffffffff601000, Path: "[vsyscall]"}
	library := Mapping{Start: 0x3fb7a00000, End: 0x3fb7c00000, Path: "/lib/libc.so"}
	above := Mapping{Start: 1 << 48, End: 1<<48 + 4096}
	tests := map[string]struct {
		mappings []Mapping
		bits     int
	}{
		"stack":                   {[]Mapping{library, stack, vsyscall}, 47},
		"no stack":                {[]Mapping{library, vsyscall}, 38},
		"5-level paging, by hint": {[]Mapping{stack, above, vsyscall}, 47},
		"arm64, 39 bits":          {[]Mapping{{Start: 0x7fe5a00000, End: 0x7fe5b00000, Path: "[stack]"}}, 39},
		"arm64, 48 bits":          {[]Mapping{{Start: 0xffffd5a00000, End: 0xffffd5b00000, Path: "[stack]"}}, 48},
		"ends at the very top":    {[]Mapping{{Start: 1<<47 - 8192, End: 1 << 47, Path: "[stack]"}}, 47},
	}
	for name, test := range tests {
		var top topFinder
		for _, m := range test.mappings {
			if err := top.visit(m); err != nil {
				t.Fatal(err)
			}
		}
		if got := bits.Len64(top.end() - 1); got != test.bits {
			t.Errorf("%s: %d bits, want %d", name, got, test.bits)
		}
	}
}

func TestAddressBits(t *testing.T) {
	known := map[string][]int{
		"amd64":   {47},
		"arm64":   {39, 42, 47, 48},
		"riscv64": {38, 39, 47}, // 39 under qemu-user
	}[runtime.GOARCH]
	got, err := AddressBits()
	if err != nil {
		t.Fatal(err)
	}
	if known == nil {
		shmtest.SkipAnywhere(t, fmt.Sprintf("%d bits; what to expect on %s is not written down", got, runtime.GOARCH))
	}
	if !slices.Contains(known, got) {
		t.Errorf("%d bits on %s, want one of %v", got, runtime.GOARCH, known)
	}
}
