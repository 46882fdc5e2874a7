//go:build !race

package mem

// Peek reads the word without order. Only the word's sole writer may rely on the value.
func (w *Word) Peek() uint64 { return w.v }

// Set stores v without order. Only the word's sole writer may call it. A later Set to the same word
// may make the compiler drop this one: use StoreRelease where every value counts.
func (w *Word) Set(v uint64) { w.v = v }
