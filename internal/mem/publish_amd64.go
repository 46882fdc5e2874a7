//go:build amd64 && !race

package mem

// Publish stores v with release order, like StoreRelease and inline: on amd64 every store is a release
// store, and the compiler keeps stores in their order. It may leave this one out when the same word
// is stored to again before anything is loaded, so it is not for words that recovery reads.
func (w *Word) Publish(v uint64) { w.v = v }
