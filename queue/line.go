package queue

import "github.com/shmheap/shmheap/internal/mem"

// Batches of the only producer or consumer move whole lines of slots, which is the same loads and stores as for
// one slot after another, in the same order; where a processor loads and stores two words at once, two slots that
// lie in one aligned 16 bytes may change in either order. Two bodies do it: these loops, and assembly.

// lineLimit is how many lines are moved before the other side is told: assembly cannot be interrupted by the
// scheduler, and a hint should not lag far behind.
const lineLimit = 32

// takeLinesGo pops full lines, as far as slots and offsets go: each slot of them holds full and an element that is
// at least first and at most first+last. It stores the elements into offsets and empty into the slots, and returns
// how many lines it has popped. A line of which anything else is true ends it, and stays as it is.
func takeLinesGo(slots []mem.Word, offsets []uint64, full, empty, first, last uint64) int {
	lines := 0
	for len(slots) >= lineSlots && len(offsets) >= lineSlots {
		line, out := (*[lineSlots]mem.Word)(slots), (*[lineSlots]uint64)(offsets)
		more, outside := uint64(0), uint64(0)
		for i := range line {
			w := line[i].Load() ^ full // what is left is the element, if the lap is right and it names nobody
			at := w*Unit - first
			more |= w
			outside |= at | (last - at) // one of them is negative then
			out[i] = w * Unit
		}
		if more&^valueMask != 0 || outside>>63 != 0 {
			break
		}
		for i := range line {
			line[i].Publish(empty)
		}
		slots, offsets = slots[lineSlots:], offsets[lineSlots:]
		lines++
	}
	return lines
}

// fillLinesGo pushes whole lines into slots that are free, as far as slots and offsets go. Each offset of a line
// must be a multiple of Unit, at least first and at most first+last. It returns how many lines it has pushed. A line
// with an offset that is not ends it, and stays as it is.
func fillLinesGo(slots []mem.Word, offsets []uint64, full, first, last uint64) int {
	lines := 0
	for len(slots) >= lineSlots && len(offsets) >= lineSlots {
		line, in := (*[lineSlots]mem.Word)(slots), (*[lineSlots]uint64)(offsets)
		odd, outside := uint64(0), uint64(0)
		for _, offset := range in {
			at := offset - first
			odd |= offset
			outside |= at | (last - at)
		}
		if odd%Unit != 0 || outside>>63 != 0 {
			break
		}
		for i := range line {
			line[i].Publish(full | in[i]/Unit)
		}
		slots, offsets = slots[lineSlots:], offsets[lineSlots:]
		lines++
	}
	return lines
}
