//go:build !amd64 || race

package mem

// Publish stores v with release order. It is StoreRelease where only that will do, but a caller must not
// rely on a value that it stores over before it loads something: see the version for amd64.
func (w *Word) Publish(v uint64) { w.StoreRelease(v) }
