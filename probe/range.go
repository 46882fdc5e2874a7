package probe

import (
	"cmp"
	"fmt"
	"slices"
	"sort"

	"github.com/shmheap/shmheap/internal/sys"
)

// Range is a range of addresses: Start belongs to it, End does not. It is empty unless Start < End.
type Range struct{ Start, End uint64 }

// Size returns the length in bytes.
func (r Range) Size() uint64 { return r.End - r.Start }

// Contains reports whether addr lies in r.
func (r Range) Contains(addr uint64) bool { return r.Start <= addr && addr < r.End }

// Overlaps reports whether r and o have an address in common.
func (r Range) Overlaps(o Range) bool { return max(r.Start, o.Start) < min(r.End, o.End) }

// String returns r as "[0x550000000000, 0x550040000000)".
func (r Range) String() string { return fmt.Sprintf("[%#x, %#x)", r.Start, r.End) }

// Mapping is one mapping of a process.
type Mapping struct {
	Range
	Perms  string // r, w and x or a dash each, then p for private or s for shared
	Offset uint64 // of Start in the file, in bytes
	Inode  uint64 // of the file, 0 where there is none
	Path   string // of the file as the kernel shows it, or a name such as [heap], or "" for anonymous memory
}

// String names the mapping: what it is, where, and its permissions.
func (m Mapping) String() string {
	return fmt.Sprintf("%s %v %s", cmp.Or(m.Path, "anonymous memory"), m.Range, m.Perms)
}

// Self returns the mappings of this process, ascending. It is no snapshot: what other threads map or
// unmap meanwhile may or may not be seen. On a system other than Linux and macOS the error wraps
// errors.ErrUnsupported.
func Self() ([]Mapping, error) {
	var all []Mapping
	err := sys.EachMapping(func(m sys.Mapping) error {
		all = append(all, mapping(m))
		return nil
	})
	return all, err
}

func mapping(m sys.Mapping) Mapping {
	return Mapping{Range{m.Start, m.End}, m.Perms, m.Offset, m.Inode, m.Path}
}

// rangeSet is a set of addresses: ranges, ascending, that neither overlap nor touch.
type rangeSet []Range

func newRangeSet(ranges []Range) rangeSet {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b Range) int { return cmp.Compare(a.Start, b.Start) })
	var set rangeSet
	for _, r := range sorted {
		last := len(set) - 1
		switch {
		case r.Start >= r.End:
		case last >= 0 && r.Start <= set[last].End:
			set[last].End = max(set[last].End, r.End)
		default:
			set = append(set, r)
		}
	}
	return set
}

func (s rangeSet) overlaps(r Range) bool {
	i := sort.Search(len(s), func(i int) bool { return s[i].End > r.Start })
	return i < len(s) && s[i].Overlaps(r)
}
