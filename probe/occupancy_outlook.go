package probe

import (
	"fmt"
	"runtime"
	"slices"
	"sort"
)

// Outlook is what Find has to choose from.
type Outlook struct {
	Size    uint64        // of the range that is wanted, in bytes
	Base    uint64        // that Find would try first, 0 where no window has room
	Windows []WindowState // in the order of Windows
}

// WindowState is a window and what is in it.
type WindowState struct {
	Window
	Base    uint64  // of the first candidate that nobody has, 0 where there is none
	Largest uint64  // length of the largest part that nobody has, in bytes
	Taken   []Taken // in the order of the occupants, ascending for each
}

// Taken is what one occupant has in a window.
type Taken struct {
	Occupant string // its name
	Obstacle
}

// Range returns the range that Find would try first. It is empty where no window has room.
func (o *Outlook) Range() Range { return Range{o.Base, o.Base + min(o.Base, o.Size)} }

// Look returns what Find would have to choose from with the same size and options, without reserving
// anything: this process, and what opts forbids, as it is now.
//
// Errors: ErrUnaligned, ErrNarrow. Any number of goroutines may call it at once.
func Look(size uint64, opts *Options) (*Outlook, error) {
	if size == 0 || size%Guard != 0 {
		return nil, fmt.Errorf("look for %#x bytes: %w", size, ErrUnaligned)
	}
	if opts == nil {
		opts = &Options{}
	}
	windows, err := opts.windows()
	if err != nil {
		return nil, err
	}
	return outlook(windows, size, opts, ThisProcess()), nil
}

// ThisProcess makes an occupant of this process. It has no obstacles where this package does not look
// at the mappings before it reserves, which is everywhere but on Linux.
func ThisProcess() Occupant {
	if runtime.GOOS != "linux" {
		return Occupant{Name: thisProcess}
	}
	mappings, _ := Self() // it only saves tries
	mappings = slices.DeleteFunc(mappings, func(m Mapping) bool { return m.End > 1<<63 })
	return NewOccupant(thisProcess, withNames(mappings))
}

const thisProcess = "this process"

func outlook(windows []Window, size uint64, opts *Options, this Occupant) *Outlook {
	occupants := append([]Occupant{this}, opts.Forbid...)
	taken := newRangeSet(slices.Concat(opts.Avoid, forbidden(occupants)))
	o := &Outlook{Size: size}
	for _, w := range windows {
		state := WindowState{Window: w, Base: taken.firstFree(w, size, opts.Key), Largest: taken.largestGap(w.Range)}
		for _, occupant := range occupants {
			for obstacle := range occupant.In(w.Range) {
				state.Taken = append(state.Taken, Taken{occupant.Name, obstacle})
			}
		}
		o.Windows = append(o.Windows, state)
		if o.Base == 0 {
			o.Base = state.Base
		}
	}
	return o
}

// firstFree returns the first candidate of w that has nothing of s in it or in its guards, or 0.
func (s rangeSet) firstFree(w Window, size uint64, key string) uint64 {
	for base := range w.bases(size, key) {
		if !s.overlaps(guarded(base, size)) {
			return base
		}
	}
	return 0
}

// guarded returns the range of a reservation with its guards.
func guarded(base, size uint64) Range { return Range{base - Guard, base + size + Guard} }

// largestGap returns the length of the longest part of r that has nothing of s in it.
func (s rangeSet) largestGap(r Range) uint64 {
	var largest uint64
	for _, gap := range s.gaps(r) {
		largest = max(largest, gap.Size())
	}
	return largest
}

// gaps returns what is left of r without s, ascending.
func (s rangeSet) gaps(r Range) []Range {
	var gaps []Range
	at := r.Start
	first := sort.Search(len(s), func(i int) bool { return s[i].End > r.Start })
	for _, taken := range s[first:] {
		if taken.Start >= r.End {
			break
		}
		if taken.Start > at {
			gaps = append(gaps, Range{at, taken.Start})
		}
		at = max(at, taken.End)
	}
	if at < r.End {
		gaps = append(gaps, Range{at, r.End})
	}
	return gaps
}
