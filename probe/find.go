package probe

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
)

// Options steers Find. The zero value and nil are valid.
type Options struct {
	Key   string  // hashed to the slot where the search in a window starts: who uses the same key meets
	Avoid []Range // not to be overlapped, because they are taken elsewhere; order does not matter
	// Above looks in the window of Above instead of Windows. Find then returns ErrNarrow where there is none.
	Above bool
	// Within leaves out ranges that cross a multiple of it, a power of two from Slot on; 0 leaves out none.
	Within uint64
	// Forbid are processes and programs whose addresses are not to be overlapped either.
	Forbid []Occupant
}

// Find takes size bytes, a positive multiple of Guard, at the first candidate that can be had, in the
// order of Windows. Bases are multiples of Slot, and a reservation lies inside its window with its
// guards.
//
// At most 64 candidates are tried, and 8 on macOS, where a try can cost a page of kernel memory for
// good. Skipping what is known to be taken costs none. A window may use up half of the tries that are
// left, so that one in which everything is refused leaves some for the next.
//
// Errors: ErrUnaligned; ErrNarrow; ErrNoWindow, which also wraps the last reason why a candidate was refused; and
// those of Reserve that no other candidate would change. Any number of goroutines may call it at once.
func Find(size uint64, opts *Options) (*Reservation, error) {
	if opts == nil {
		opts = &Options{}
	}
	s := search{size: size, key: opts.Key, within: opts.Within, take: bestWay(), tries: triesOn(runtime.GOOS)}
	s.avoid = newRangeSet(slices.Concat(ownRanges(runtime.GOOS), opts.Avoid, forbidden(opts.Forbid)))
	windows, err := opts.windows()
	if err != nil {
		return nil, err
	}
	return s.run(windows)
}

func triesOn(goos string) int {
	if goos == "darwin" {
		return 8
	}
	return 64
}

// ownRanges returns what this process has mapped, to save tries: the reservation is the proof. Where
// it cannot be read, or has never been tried out, as on macOS, there is nothing to save.
func ownRanges(goos string) []Range {
	if goos != "linux" {
		return nil
	}
	mappings, _ := Self()
	ranges := make([]Range, len(mappings))
	for i, m := range mappings {
		ranges[i] = m.Range
	}
	return ranges
}

// search is one run of Find.
type search struct {
	size   uint64
	key    string
	within uint64
	avoid  rangeSet
	take   way
	tries  int   // left
	last   error // why the last candidate was refused
}

func (s *search) run(windows []Window) (*Reservation, error) {
	if s.size == 0 || s.size%Guard != 0 {
		return nil, fmt.Errorf("find %#x bytes: %w", s.size, ErrUnaligned)
	}
	for _, w := range windows {
		r, err := s.in(w)
		if r != nil || err != nil {
			return r, err
		}
	}
	if s.last != nil {
		return nil, fmt.Errorf("find %#x bytes: %w; the last candidate: %w", s.size, ErrNoWindow, s.last)
	}
	return nil, fmt.Errorf("find %#x bytes: %w", s.size, ErrNoWindow)
}

// in searches one window. It returns neither a reservation nor an error when the next one may do.
func (s *search) in(w Window) (*Reservation, error) {
	leave := s.tries / 2
	for base := range w.bases(s.size, s.key) {
		if !keepsWithin(base, s.size, s.within) || s.avoid.overlaps(Range{base - Guard, base + s.size + Guard}) {
			continue
		}
		if s.tries == leave {
			return nil, nil
		}
		s.tries--
		r, err := reserve(base, s.size, s.take)
		if err == nil || !anotherMayDo(err) {
			return r, err
		}
		s.last = err
	}
	return nil, nil
}

// keepsWithin reports whether no multiple of within, 0 for none, lies inside the range.
func keepsWithin(base, size, within uint64) bool {
	return within == 0 || base/within == (base+size-1)/within
}

// anotherMayDo reports whether an error of Reserve concerns the place and not the process.
func anotherMayDo(err error) bool {
	return errors.Is(err, ErrTaken) || errors.Is(err, ErrRefused) || errors.Is(err, ErrBeyond)
}
