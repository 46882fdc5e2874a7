//go:build amd64 || arm64

package mem

// PrefetchWrite asks for n lines of 64 bytes from p on, to be stored to: they come at once and not one
// after another, and away from whoever else has them. It reads and changes nothing, but p must lie in
// memory that is mapped.
//
//go:noescape
func PrefetchWrite(p *Word, n uint64)
