package probe

import (
	"runtime"
	"slices"
	"sync"

	"github.com/shmheap/shmheap/internal/sys"
)

// zone is where a random placement may put something, or nothing known where it is empty.
type zone struct {
	Range
	// together: one draw moves all that lies in the zone, as it does for a program and for its
	// libraries. Otherwise each piece has a draw of its own.
	together bool
}

// territory is how a system lays out the address space of a process. What is not known is empty.
type territory struct {
	heaps   zone // where Go and V8 place their heaps
	pie     zone // where the kernel loads position-independent programs, and their brk behind them
	mmap    zone // where the kernel places what asks for no address, and the stack
	pieBase uint64
	windows []Window
	amd64   bool // the tables of sanitizers hold
}

// slack is how far things reach out of the range that the kernel draws from: generated code below a
// program, its brk behind it, libraries below the lowest start.
const slack = 64 << 30

// territoryOf returns the layout of a system with addresses of bits bits, where the kernel spreads
// random placements over spread bytes.
func territoryOf(goos, goarch string, bits int, spread uint64) territory {
	t := territory{windows: windowsFor(goos, goarch, bits), amd64: goarch == "amd64"}
	if w := aboveWindow(goos + "/" + goarch); len(t.windows) > 0 && w.Size() > 0 {
		t.windows = append(slices.Clone(t.windows), w)
	}
	heapBits := 47 // runtime/malloc.go, randHeapAddrBits
	if t.amd64 {
		heapBits = 46
	}
	if bits == 0 || goos != "linux" {
		return t
	}
	top := uint64(1) << bits
	t.heaps = zone{Range: Range{0, min(1<<heapBits, top)}}
	t.pieBase = (top - 4096) / 3 * 2 &^ 4095 // ELF_ET_DYN_BASE
	if spread > 0 && spread < top/4 {
		t.pie = zone{Range{t.pieBase, t.pieBase + spread}, true}
		t.mmap = zone{Range{top - spread - slack, top}, true}
	}
	return t
}

// here returns the layout of this machine.
var here = sync.OnceValue(func() territory {
	var spread uint64
	if random, err := sys.RandomBits(); err == nil && random < 48 {
		spread = sys.PageSize() << random
	}
	return territoryOf(runtime.GOOS, runtime.GOARCH, addressBits(), spread)
})

// nearPIE reports whether addr lies where position-independent programs, their brk and the code that
// they generate are.
func (t *territory) nearPIE(addr uint64) bool {
	return t.pie.Size() > 0 && Range{t.pie.Start - min(slack/64, t.pie.Start), t.pie.End + slack}.Contains(addr)
}

// again returns the chance that another start of the process puts something of the class in the way of
// span, and -1 where nothing can be told.
func (p *process) again(span Range, c Class) float64 {
	switch {
	case c.Placement == Fixed:
		return 1
	case c.Placement == Unknown || c.zone.Size() == 0:
		return -1
	}
	pieces := p.pieces(c)
	if c.zone.together && len(pieces) > 0 {
		pieces = []Range{{pieces[0].Start, pieces[len(pieces)-1].End}}
	}
	missed := 1.0
	for _, piece := range pieces {
		missed *= 1 - c.zone.meets(span, piece.Size())
	}
	return 1 - missed
}

// pieces returns what lies in the zone of the class: mappings that touch count as one piece.
func (p *process) pieces(c Class) []Range {
	var pieces []Range
	for _, m := range p.all {
		other := p.classify(m)
		if other.zone != c.zone || !c.zone.together && other.Kind != c.Kind {
			continue
		}
		if last := len(pieces) - 1; last >= 0 && pieces[last].End == m.Start {
			pieces[last].End = m.End
			continue
		}
		pieces = append(pieces, m.Range)
	}
	return pieces
}

// meets returns the chance that size bytes at a random place in the zone overlap span.
func (z zone) meets(span Range, size uint64) float64 {
	if size >= z.Size() {
		return 1
	}
	starts := Range{z.Start, z.End - size}
	bad := Range{max(starts.Start, span.Start-min(size, span.Start)), min(starts.End, span.End)}
	if bad.Start >= bad.End {
		return 0
	}
	return float64(bad.Size()) / float64(starts.Size())
}
