//go:build !race

package mem

// SetRelease is StoreRelease for the word's sole writer, where it does not matter if the compiler drops the store
// because of a later one. On amd64 that makes it a plain store.
func (w *Word) SetRelease(v uint64) { w.v = v }
