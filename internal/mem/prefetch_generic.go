//go:build !(amd64 || arm64)

package mem

// PrefetchWrite is a hint that this processor is not given.
func PrefetchWrite(p *Word, n uint64) {}
