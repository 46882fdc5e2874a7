package mem

import (
	"structs"
	"sync/atomic"
)

// Half is a 32-bit word that processes share: what the kernel's wait-on-address calls compare. Its zero
// value is 0.
type Half struct {
	_ structs.HostLayout
	v uint32
}

// Load reads the word with acquire order.
func (h *Half) Load() uint32 { return atomic.LoadUint32(&h.v) }

// Swap stores v and returns what was there. It is a full barrier.
func (h *Half) Swap(v uint32) uint32 { return atomic.SwapUint32(&h.v, v) }

// CompareAndSwap stores next if the word holds old, and reports whether it did. It is a full barrier.
func (h *Half) CompareAndSwap(old, next uint32) bool {
	return atomic.CompareAndSwapUint32(&h.v, old, next)
}

// Add adds delta and returns the sum. It is a full barrier.
func (h *Half) Add(delta uint32) uint32 { return atomic.AddUint32(&h.v, delta) }

// Or sets bits and returns what was there before. It is a full barrier.
func (h *Half) Or(bits uint32) uint32 { return atomic.OrUint32(&h.v, bits) }

// And keeps only the bits of mask and returns what was there before. It is a full barrier.
func (h *Half) And(mask uint32) uint32 { return atomic.AndUint32(&h.v, mask) }
