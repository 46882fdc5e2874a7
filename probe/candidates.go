package probe

import (
	"iter"
	"slices"
)

// Candidates returns the bases that Find would try for size bytes, a positive multiple of Guard, in its
// order, without looking at this process: only what opts names is left out. It is for processes that
// agree on a base; each of them makes its own Reserve.
func Candidates(size uint64, opts *Options) iter.Seq[uint64] {
	if opts == nil {
		opts = &Options{}
	}
	avoid := newRangeSet(slices.Concat(opts.Avoid, forbidden(opts.Forbid)))
	return func(yield func(uint64) bool) {
		if size == 0 || size%Guard != 0 {
			return
		}
		for _, w := range Windows() {
			for base := range w.bases(size, opts.Key) {
				if !avoid.overlaps(Range{base - Guard, base + size + Guard}) && !yield(base) {
					return
				}
			}
		}
	}
}

// Gaps returns where in the windows of this system this process has room for size bytes with their
// guards, ascending. It is what Self showed a moment ago, and its errors are those of Self; the proof
// is Reserve.
func Gaps(size uint64) ([]Range, error) {
	mappings, err := Self()
	if err != nil {
		return nil, err
	}
	taken := make([]Range, len(mappings))
	for i, m := range mappings {
		taken[i] = m.Range
	}
	return gaps(Windows(), newRangeSet(taken), size), nil
}

func gaps(windows []Window, taken rangeSet, size uint64) (free []Range) {
	spans := make([]Range, len(windows))
	for i, w := range windows {
		spans[i] = w.Range
	}
	for _, span := range newRangeSet(spans) {
		start := span.Start
		for _, t := range taken {
			if t.Overlaps(span) {
				free = appendRoom(free, Range{start, t.Start}, size)
				start = max(start, t.End)
			}
		}
		free = appendRoom(free, Range{start, span.End}, size)
	}
	return free
}

// appendRoom adds r where size bytes and two guards fit.
func appendRoom(free []Range, r Range, size uint64) []Range {
	if r.Start < r.End && r.Size() >= 2*Guard && r.Size()-2*Guard >= size {
		return append(free, r)
	}
	return free
}
