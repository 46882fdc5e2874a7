//go:build !amd64 || race

package mem

// SetRelease is StoreRelease for the word's sole writer, where it does not matter if the compiler drops the store
// because of a later one.
func (w *Word) SetRelease(v uint64) { storeRelease(&w.v, v) }
