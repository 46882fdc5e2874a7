package probe

import (
	"math"
	"runtime"
	"slices"

	"github.com/shmheap/shmheap/internal/sys"
)

// Sanitizer returns the name of the sanitizer that this process runs with, such as "AddressSanitizer" or
// "Go race detector", and "" where it has none or that cannot be told. It goes by what only the sanitizer
// maps, and knows those of linux/amd64. The errors are those of Self.
func Sanitizer() (string, error) {
	all, err := Self()
	if err != nil {
		return "", err
	}
	if s := study(all, here()).sanitizer; s != nil {
		return s.owner, nil
	}
	return "", nil
}

// SanitizerRanges returns where a program that runs with the sanitizer of that name cannot have a heap:
// where the sanitizer has its own memory, or may put it, or has no shadow. It is empty for "" and for
// names that are not known on this system.
func SanitizerRanges(name string) []Range {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return nil
	}
	var all []Range
	for _, s := range sanitizers {
		if s.owner == name {
			all = append(all, s.owns...)
		}
	}
	if len(all) == 0 {
		return nil
	}
	if name == raceDetector { // grows there, and fails when it cannot: golang/go#80292
		all = append(all, Range{goFixedHeap, 0xe0_0000_0000})
	}
	return slices.Clone(newRangeSet(append(all, Range{1 << 47, math.MaxUint64})))
}

const raceDetector = "Go race detector"

// Headroom returns how many bytes of addresses the limit of this process (RLIMIT_AS) leaves, or
// math.MaxUint64 where there is no limit or none is known.
func Headroom() uint64 {
	limit := orNone(sys.AddressLimit())
	if limit == math.MaxUint64 {
		return limit
	}
	s := look(Range{})
	return limit - min(s.used, limit)
}
