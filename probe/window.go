package probe

import (
	"hash/fnv"
	"io"
	"iter"
	"runtime"
	"slices"
	"sync"

	"github.com/shmheap/shmheap/internal/sys"
)

// Window is a range of addresses to look for room in.
type Window struct {
	Range
	Name   string // short, unique among the windows of a system
	Reason string // why here, and what it avoids
}

// Windows returns where Find looks on this system, architecture and address width, in order of
// preference. It is empty on a system that this package does not know.
func Windows() []Window {
	return slices.Clone(windowsFor(runtime.GOOS, runtime.GOARCH, addressBits()))
}

// addressBits returns the detected width of an address, or 0 where it cannot be detected.
var addressBits = sync.OnceValue(func() int {
	bits, err := sys.AddressBits()
	if err != nil {
		return 0
	}
	return bits
})

// windowsFor returns the windows of a system. bits is the width of an address, or 0 for the usual one
// of the port; a width between two layouts, as emulators produce, means the next wider layout.
func windowsFor(goos, goarch string, bits int) []Window {
	switch goos + "/" + goarch {
	case "linux/amd64":
		return linuxAMD64
	case "linux/arm64":
		return linuxARM64(bits)
	case "linux/riscv64":
		return linuxRISCV64(bits)
	case "darwin/amd64", "darwin/arm64":
		return darwin
	}
	return nil
}

func linuxARM64(bits int) []Window {
	switch {
	case bits == 0 || bits > 47:
		return linuxARM64Bits48
	case bits > 42:
		return linuxARM64Bits47
	case bits > 39:
		return linuxARM64Bits42
	}
	return linuxARM64Bits39
}

func linuxRISCV64(bits int) []Window {
	if bits == 0 || bits > 39 {
		return linuxRISCV64SV48
	}
	return linuxRISCV64SV39
}

// bases returns the candidates for a base in w: every cell of the window once, beginning with the one
// that key hashes to (FNV-1a, 64 bits) and going round. A cell is size and two guards, rounded up to
// Slot, so that the guards of two reservations of one size are apart.
func (w Window) bases(size uint64, key string) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		first, stride, cells := w.grid(size)
		if cells == 0 {
			return
		}
		start := hash(key) % cells
		for i := range cells {
			if !yield(first + (start+i)%cells*stride) {
				return
			}
		}
	}
}

// grid returns the first base, the distance between two, and how many there are.
// Invariant: w.Start + Guard <= first and first + (cells-1)*stride + size + Guard <= w.End.
func (w Window) grid(size uint64) (first, stride, cells uint64) {
	first = roundUp(w.Start+Guard, Slot)
	if first >= w.End || size > w.End-first || w.End-first-size < Guard {
		return 0, 0, 0
	}
	stride = roundUp(size+2*Guard, Slot)
	return first, stride, (w.End-Guard-size-first)/stride + 1
}

func roundUp(n, unit uint64) uint64 { return (n + unit - 1) / unit * unit }

func hash(key string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, key) // a hash never fails
	return h.Sum64()
}
