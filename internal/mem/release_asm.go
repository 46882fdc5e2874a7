//go:build (amd64 || arm64) && !race

package mem

// storeRelease stores v to *p with release order, in one instruction.
//
//go:noescape
func storeRelease(p *uint64, v uint64)
