//go:build race

package mem

import "sync/atomic"

// Peek reads the word without order. Only the word's sole writer may rely on the value. Under the
// race detector it is atomic, because other processes' concurrent loads are goroutines there.
func (w *Word) Peek() uint64 { return atomic.LoadUint64(&w.v) }

// Set stores v without order. Only the word's sole writer may call it. Atomic for the same reason
// as Peek.
func (w *Word) Set(v uint64) { atomic.StoreUint64(&w.v, v) }
