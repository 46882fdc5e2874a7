package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"sync"

	"github.com/shmheap/shmheap/internal/sys"
)

const (
	// Guard is the size in bytes of the guard on each side of a reservation, and the unit of base and
	// size. It is the largest page size in use, so that a range fits every kernel.
	Guard = 64 << 10
	// Slot is the alignment in bytes of the bases that Find chooses. A huge page of 1 GiB fits.
	Slot = 1 << 30
)

// Reserve takes exactly the size bytes at base, or returns an error that says why it cannot. It never
// replaces a mapping. Both must be positive multiples of Guard.
//
// It also takes a guard on each side where that is free; one that is not does not matter, and a guard
// of another reservation of this process gives way to base and size.
//
// Errors: ErrUnaligned, ErrTaken (a *TakenError), ErrRefused, ErrBeyond, ErrAddressLimit, ErrMapCount,
// ErrNoMemory, or the errno of the kernel. Any number of goroutines may call it at once; of those that
// want overlapping ranges one gets its own. A process that dies holds nothing.
func Reserve(base, size uint64) (*Reservation, error) {
	r, err := reserve(base, size, bestWay())
	return r, withClasses(err)
}

// holes is held for writing while a mapping that fails may leave a hole in its reservation, so that no
// other reservation of this process gets in there and is taken for it.
var holes sync.RWMutex

func reserve(base, size uint64, take way) (*Reservation, error) {
	if base == 0 || size == 0 || base%Guard != 0 || size%Guard != 0 {
		return nil, fmt.Errorf("reserve %#x bytes at %#x: %w", size, base, ErrUnaligned)
	}
	span := Range{base, base + size}
	if span.End <= base {
		return nil, fmt.Errorf("reserve %#x bytes at %#x: %w", size, base, ErrBeyond)
	}
	handed.look() // before there are reservations of our own
	holes.RLock()
	defer holes.RUnlock()
	err := claim(span, take)
	if errors.Is(err, ErrTaken) && guards.yield(span) {
		err = claim(span, take)
	}
	if err != nil {
		return nil, err
	}
	return &Reservation{span: span, take: take, guards: guards.around(span, take)}, nil
}

// claim takes exactly span.
func claim(span Range, take way) error {
	at, err := take(span.Start, span.Size())
	switch {
	case err != nil:
		return look(span).explain(span, err)
	case at == span.Start:
		return nil
	}
	// First away with it: it may lie in part of span.
	if err := sys.Unmap(at, span.Size()); err != nil {
		return fmt.Errorf("reserve %v: %w", span, err)
	}
	return look(span).elsewhere(span, at)
}

// scene is what can be known of this process when a range was denied to it. What cannot be read is
// zero, or no limit.
type scene struct {
	overlap      []Mapping // with the range
	count        uint64    // of mappings
	used         uint64    // address space, in bytes
	top          uint64    // no mapping ends above
	addressLimit uint64    // RLIMIT_AS, in bytes
	mapLimit     uint64    // how many mappings there may be
	unread       error     // why overlap, count and used are not known
}

// look collects the scene around span.
func look(span Range) scene {
	s := scene{top: topFor(span.End), addressLimit: orNone(sys.AddressLimit()), mapLimit: orNone(sys.MapCountLimit())}
	s.unread = sys.EachMapping(func(m sys.Mapping) error {
		seen := mapping(m)
		s.count++
		s.used += seen.Size()
		if seen.Overlaps(span) {
			s.overlap = append(s.overlap, seen)
		}
		return nil
	})
	return s
}

func orNone(limit uint64, err error) uint64 {
	if err != nil {
		return math.MaxUint64
	}
	return limit
}

// elsewhere explains why the kernel answered with the address at: a hint was not honoured.
func (s scene) elsewhere(span Range, at uint64) error {
	switch {
	case len(s.overlap) > 0:
		return &TakenError{Range: span, Mappings: s.overlap}
	case span.End > s.top:
		return fmt.Errorf("reserve %v: %w at %#x", span, ErrBeyond, s.top)
	case s.unread != nil:
		return fmt.Errorf("reserve %v: %w or it is taken, which cannot be told: %w", span, ErrRefused, s.unread)
	}
	return fmt.Errorf("reserve %v: %w: it answered %#x%s", span, ErrRefused, at, whyRefused())
}

// explain turns the errno of the kernel into a reason.
func (s scene) explain(span Range, err error) error {
	switch {
	case errors.Is(err, fs.ErrExist):
		return &TakenError{Range: span, Mappings: s.overlap}
	case !errors.Is(err, sys.ENOMEM):
		return fmt.Errorf("reserve %v: %w", span, err)
	case span.End > s.top:
		return fmt.Errorf("reserve %v: %w at %#x", span, ErrBeyond, s.top)
	case span.Size() > s.addressLimit-min(s.used, s.addressLimit):
		return fmt.Errorf("reserve %v: %w of %d bytes: %d in use, %d more needed",
			span, ErrAddressLimit, s.addressLimit, s.used, span.Size())
	case s.count >= s.mapLimit:
		return fmt.Errorf("reserve %v: %w: %d of %d", span, ErrMapCount, s.count, s.mapLimit)
	}
	return fmt.Errorf("reserve %v: %w: %w", span, ErrNoMemory, err)
}
