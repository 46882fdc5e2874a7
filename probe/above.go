package probe

import (
	"fmt"
	"math"
	"runtime"
	"sync"

	"github.com/shmheap/shmheap/internal/sys"
)

// wide says, for a port of Linux, how many bits an address can have beyond what the kernel gives out
// unasked, and where the window there begins.
type wide struct {
	bits  int
	start uint64
	needs string // what the machine must have
}

// The kernel places a mapping up there only where a hint, or a fixed address, asks for it: Documentation/
// arch/x86/x86_64/5level-paging.rst, arch/arm64/memory.rst, arch/riscv/vm-layout.rst.
var wides = map[string]wide{
	"linux/amd64":   {56, 1 << 48, "5-level paging: a CPU with la57, and a kernel that was not told no5lvl"},
	"linux/arm64":   {52, 1 << 49, "52-bit addresses: a CPU with LVA or LPA2, and a kernel built for them"},
	"linux/riscv64": {56, 1 << 48, "5-level paging: sv57"},
}

// Above returns the window above the addresses that the kernel gives out unasked. Nobody else lives
// there, as the kernel places nothing there of its own accord, and it is thousands of TiB large. It is
// not among Windows, because its addresses have more than 48 bits: programs that pack numbers into the
// upper bits of a pointer (JavaScript engines, tagged pointers) break on them, and no sanitizer has a
// shadow for them.
//
// It returns ErrNarrow where there are no such addresses: whether there are, the kernel is asked once.
// Any number of goroutines may call it at once.
func Above() (Window, error) {
	port := runtime.GOOS + "/" + runtime.GOARCH
	if !hasWide() {
		needs := wides[port].needs
		if needs == "" {
			needs = "a system that has them"
		}
		return Window{}, fmt.Errorf("%s: %w; they need %s", port, ErrNarrow, needs)
	}
	return aboveWindow(port), nil
}

// aboveWindow returns the window of a port, whether this machine has it or not. It leaves out the last
// addresses, and is empty where no machine has one.
func aboveWindow(port string) Window {
	w, ok := wides[port]
	if !ok {
		return Window{}
	}
	return Window{
		Range{w.start, 1<<w.bits - Slot}, "above",
		"above what the kernel gives out unasked, so nobody is there; no sanitizer has a shadow for it, and pointers " +
			"have more than 48 bits",
	}
}

// hasWide asks the kernel for the last page of the window.
var hasWide = sync.OnceValue(func() bool {
	w := aboveWindow(runtime.GOOS + "/" + runtime.GOARCH)
	if w.Size() == 0 || w.Start < topDefault() {
		return false
	}
	at, err := sys.ReserveHint(w.End-Guard, Guard)
	if err != nil {
		return false
	}
	_ = sys.Unmap(at, Guard) // nobody else knows this address; at worst 64 KiB stay reserved
	return at >= w.Start
})

// topDefault returns the address above which nothing is placed unasked. Some ports leave the last page out.
func topDefault() uint64 {
	bits := addressBits()
	if bits == 0 || bits > 63 {
		return math.MaxUint64
	}
	return 1<<bits - sys.PageSize()
}

// topFor returns the address above which no mapping that ends at end can reach.
func topFor(end uint64) uint64 {
	top := topDefault()
	if end > top && hasWide() {
		return 1<<wides[runtime.GOOS+"/"+runtime.GOARCH].bits - sys.PageSize()
	}
	return top
}

// Reachable returns an error that wraps ErrBeyond if no process of this machine has the addresses of r.
func Reachable(r Range) error {
	if top := topFor(r.End); r.End > top {
		return fmt.Errorf("%v: %w at %#x", r, ErrBeyond, top)
	}
	return nil
}

// windows returns where to look with these options.
func (o *Options) windows() ([]Window, error) {
	if !o.Above {
		return Windows(), nil
	}
	w, err := Above()
	if err != nil {
		return nil, err
	}
	return []Window{w}, nil
}
