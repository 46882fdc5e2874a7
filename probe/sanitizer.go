package probe

import (
	"fmt"
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

// Room returns why a process that has these mappings, and pid for its id, cannot have r even where nothing
// is in the way: an error that wraps ErrBeyond or ErrAddressLimit. It is nil where there is no reason, or
// none that can be seen. pid 0 is this process.
func Room(r Range, pid int, mappings []Mapping) error {
	if err := Reachable(r); err != nil {
		return err
	}
	limit := orNone(sys.AddressLimit())
	if pid != 0 {
		limit = orNone(sys.AddressLimitOf(pid))
	}
	used := uint64(0)
	for _, m := range mappings {
		used += m.Size()
	}
	if r.Size() > limit-min(used, limit) {
		return fmt.Errorf("%w of %d bytes: %d in use, %d more needed", ErrAddressLimit, limit, used, r.Size())
	}
	return nil
}

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
