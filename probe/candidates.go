package probe

import (
	"iter"
	"slices"
)

// Candidates returns the bases that Find would try for size bytes, a positive multiple of Guard, in its
// order, without looking at this process: only what opts names is left out. It is for processes that
// agree on a base; each of them makes its own Reserve. There are none where opts.Above asks for addresses
// that this machine lacks.
func Candidates(size uint64, opts *Options) iter.Seq[uint64] {
	if opts == nil {
		opts = &Options{}
	}
	avoid := newRangeSet(slices.Concat(opts.Avoid, forbidden(opts.Forbid)))
	return func(yield func(uint64) bool) {
		if size == 0 || size%Guard != 0 {
			return
		}
		windows, _ := opts.windows()
		for _, w := range windows {
			for base := range w.bases(size, opts.Key) {
				if keepsWithin(base, size, opts.Within) &&
					!avoid.overlaps(Range{base - Guard, base + size + Guard}) && !yield(base) {
					return
				}
			}
		}
	}
}

// Gaps returns where in the windows that opts selects this process has room for size bytes with their
// guards, ascending; what opts names to be left alone is left out. It is what Self showed a moment ago, and
// its errors are those of Self, and ErrNarrow; the proof is Reserve.
func Gaps(size uint64, opts *Options) ([]Range, error) {
	if opts == nil {
		opts = &Options{}
	}
	windows, err := opts.windows()
	if err != nil {
		return nil, err
	}
	mappings, err := Self()
	if err != nil {
		return nil, err
	}
	taken := slices.Concat(opts.Avoid, forbidden(opts.Forbid))
	for _, m := range mappings {
		taken = append(taken, m.Range)
	}
	return gaps(windows, newRangeSet(taken), size), nil
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
