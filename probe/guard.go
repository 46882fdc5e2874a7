package probe

import (
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/shmheap/shmheap/internal/sys"
)

// guards holds the guards of all reservations of this process. A guard turns a run past the end of a
// heap into a fault. It is a courtesy: it gives way to a reservation that wants its place.
var guards = guardSet{held: make(map[Range]bool)}

// guardSet knows which guards are ours. Its mutex is held across the system calls, so that held is
// always what the kernel has, and a guard is never unmapped twice.
type guardSet struct {
	mu   sync.Mutex
	held map[Range]bool
}

// around takes the guards of span that are free and returns them.
func (g *guardSet) around(span Range, take way) []Range {
	g.mu.Lock()
	defer g.mu.Unlock()
	var taken []Range
	for _, guard := range guardsOf(span) {
		if tryTake(guard, take) {
			g.held[guard] = true
			taken = append(taken, guard)
		}
	}
	return taken
}

// guardsOf returns the places for guards of span. Page zero is none: root may map it, and then nil no
// longer faults.
func guardsOf(span Range) []Range {
	var places []Range
	if span.Start > Guard {
		places = append(places, Range{span.Start - Guard, span.Start})
	}
	if span.End <= math.MaxUint64-Guard {
		places = append(places, Range{span.End, span.End + Guard})
	}
	return places
}

func tryTake(guard Range, take way) bool {
	at, err := take(guard.Start, guard.Size())
	if err == nil && at != guard.Start {
		_ = sys.Unmap(at, guard.Size()) // nobody else knows this address; at worst 64 KiB stay reserved
	}
	return err == nil && at == guard.Start
}

// yield gives up the guards that overlap span and reports whether there were any.
func (g *guardSet) yield(span Range) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.unmap(slices.DeleteFunc(slices.Collect(maps.Keys(g.held)), func(guard Range) bool {
		return !guard.Overlaps(span)
	}))
}

// drop gives up those of the given guards that are still held.
func (g *guardSet) drop(given []Range) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unmap(given)
}

// unmap unmaps those of the given guards that are held and reports whether there were any. One that
// the kernel does not let go (mseal) is no longer called ours.
func (g *guardSet) unmap(given []Range) bool {
	gone := false
	for _, guard := range given {
		if g.held[guard] {
			delete(g.held, guard)
			gone = sys.Unmap(guard.Start, guard.Size()) == nil || gone
		}
	}
	return gone
}
