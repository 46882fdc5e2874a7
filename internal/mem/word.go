package mem

import (
	"structs"
	"sync/atomic"
)

// Word is a 64-bit word that processes share. Its zero value is 0. The methods differ in memory
// order and in who may call them; a word's owner comment says which it is used with.
type Word struct {
	_ structs.HostLayout
	v uint64
}

// Load reads the word with acquire order: whatever its writer stored before a StoreRelease, Swap or
// successful CompareAndSwap of this value is visible afterwards.
func (w *Word) Load() uint64 { return atomic.LoadUint64(&w.v) }

// Swap stores v and returns what was there. It is a full barrier.
func (w *Word) Swap(v uint64) uint64 { return atomic.SwapUint64(&w.v, v) }

// CompareAndSwap stores next if the word holds old, and reports whether it did. It is a full barrier.
func (w *Word) CompareAndSwap(old, next uint64) bool {
	return atomic.CompareAndSwapUint64(&w.v, old, next)
}

// Or sets bits and returns what was there before. It is a full barrier.
func (w *Word) Or(bits uint64) uint64 { return atomic.OrUint64(&w.v, bits) }

// SetUnless sets bit i, of which the low six bits count, unless it is set already, here or in other, and reports whether it
// did. Other is Loaded first; the rest is a full barrier.
func (w *Word) SetUnless(other *Word, i uint64) bool { return setUnless(&w.v, &other.v, i) }

// And keeps only the bits of mask and returns what was there before. It is a full barrier.
func (w *Word) And(mask uint64) uint64 { return atomic.AndUint64(&w.v, mask) }

// Add adds delta and returns the sum. It is a full barrier.
func (w *Word) Add(delta uint64) uint64 { return atomic.AddUint64(&w.v, delta) }

// StoreRelease stores v; everything stored before is visible to whoever Loads v. It is not ordered
// with later loads: where a store must be seen before a following load looks, use Swap. The compiler
// neither moves nor removes it.
func (w *Word) StoreRelease(v uint64) { storeRelease(&w.v, v) }
