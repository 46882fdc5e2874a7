package probe

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/shmheap/shmheap/internal/handshake"
	"github.com/shmheap/shmheap/internal/stamp"
	"github.com/shmheap/shmheap/internal/sys"
)

// ErrNotReserved is returned by Adopt for a range that was not reserved for this program when it was
// started, or that was taken over already.
var ErrNotReserved = errors.New("range was not reserved when the program was started")

// Adopt takes over the size bytes at base that were reserved in this process before the first
// instruction of its program. There are two ways to do that, and each is proved before it is believed:
//
//   - "shmheap run" reserves the range and names it in the environment variable SHMHEAP_RESERVED. The
//     range must be one private anonymous mapping without access that ends where the variable says,
//     or touches nothing but others of its kind, and must begin with the nonce of the variable. Only a
//     kernel that shows nobody such memory (proc_mem.force_override) spares it the last proof.
//   - "shmheap stamp" writes it into the executable as a segment. The range must be a private mapping
//     of that executable without access.
//
// So a program that has inherited the variable from the one that was launched gets ErrNotReserved,
// and makes its reservation itself. Other errors are ErrUnaligned and the errno of the kernel; after
// that the range may be lost. What was adopted and released can not be adopted again. Any number of
// goroutines may call it at once; one of them gets the range.
func Adopt(base, size uint64) (*Reservation, error) {
	if base == 0 || size == 0 || base%Guard != 0 || size%Guard != 0 || base+size <= base {
		return nil, fmt.Errorf("adopt %#x bytes at %#x: %w", size, base, ErrUnaligned)
	}
	span := Range{base, base + size}
	proof := handed.take(span)
	holes.Lock()
	defer holes.Unlock()
	// It was proved before. Since then another copy of this package in the process may have taken it
	// over: then the nonce is gone, or the access is another.
	if proof == nil || !proof() {
		return nil, fmt.Errorf("adopt %v: %w", span, ErrNotReserved)
	}
	// It becomes like a reservation of our own: anonymous, even where it was a stamp. The old mapping is
	// ours and goes in the same step (see package handshake for why it is ours).
	if err := sys.MapNone(span.Start, span.Size()); err != nil {
		return nil, fmt.Errorf("adopt %v: %w", span, err)
	}
	take := bestWay()
	return &Reservation{span: span, take: take, guards: guards.around(span, take)}, nil
}

// handed is what was reserved for this program when it was started. It is looked at before this
// package makes its first reservation, so that none of its own can be taken for one of those.
var handed handover

type handover struct {
	once   sync.Once
	mu     sync.Mutex
	ranges map[Range]proof // not yet taken
}

// proof looks whether a range is still what was reserved for this program.
type proof func() bool

// look fills in the ranges, the first time.
func (h *handover) look() {
	h.once.Do(func() {
		h.ranges = make(map[Range]proof)
		launchedRanges(os.Getenv(handshake.Variable), h.ranges)
		stampedRanges(h.ranges)
	})
}

// take returns the proof of a range that nobody has taken, or nil.
func (h *handover) take(span Range) proof {
	h.look()
	h.mu.Lock()
	defer h.mu.Unlock()
	there := h.ranges[span]
	delete(h.ranges, span)
	return there
}

// launchedRanges adds those ranges of the variable's value that prove to be reserved.
func launchedRanges(value string, ranges map[Range]proof) {
	entries := handshake.Parse(value)
	spans := spansOf(entries)
	for i, e := range entries {
		mappings, _ := Self() // what cannot be read proves nothing
		if !reservedAlone(mappings, spans[i], spans, hasNoFile) || !carries(e.Base, e.Nonce) {
			continue
		}
		// Later a guard, or another reservation that touches it, may be one mapping with it.
		ranges[spans[i]] = func() bool {
			return inaccessible(look(spans[i]).overlap, spans[i]) && carries(e.Base, e.Nonce)
		}
	}
}

func hasNoFile(m Mapping) bool { return m.Inode == 0 }

// reservedAlone reports whether span is covered by private mappings without access, of the right kind,
// that lie in the union of all spans. Neighbours of one kind are one mapping to the kernel.
func reservedAlone(mappings []Mapping, span Range, all []Range, right func(Mapping) bool) bool {
	union, next := newRangeSet(all), span.Start
	for _, m := range mappings {
		switch {
		case !m.Overlaps(span):
		case m.Start > next || m.Perms != "---p" || !right(m) || !union.contains(m.Range):
			return false
		default:
			next = m.End
		}
	}
	return next >= span.End
}

// contains reports whether all of r is in the set.
func (s rangeSet) contains(r Range) bool {
	for _, part := range s {
		if part.Start <= r.Start && r.End <= part.End {
			return true
		}
	}
	return false
}

// carries reports whether the reservation at base begins with the nonce.
func carries(base uint64, nonce handshake.Nonce) bool {
	var got handshake.Nonce
	return saysNonce(sys.ReadOwn(base, got[:]), got, nonce)
}

// stampedRanges adds the ranges that the executable of this process reserves, where they are so.
func stampedRanges(ranges map[Range]proof) {
	f, err := sys.OpenProgram()
	if err != nil {
		return
	}
	defer f.Close()
	stamps, err := stamp.Ranges(f)
	if err != nil {
		return
	}
	right := mappingOf(f)
	for _, s := range stamps {
		span := Range{s.Base, s.End()}
		proved := func() bool {
			mappings, _ := Self()
			return reservedAlone(mappings, span, []Range{span}, right)
		}
		if proved() {
			ranges[span] = proved
		}
	}
}

// mappingOf returns what recognises mappings of f. On an overlay file system stat and the memory map
// tell different inodes, and then the path tells; it is what the link in /proc leads to.
func mappingOf(f *os.File) func(Mapping) bool {
	path, _ := os.Readlink(f.Name())
	info, _ := sys.Stat(f)
	return func(m Mapping) bool {
		return m.Inode != 0 && (m.Inode == info.Inode || m.Path == path)
	}
}
