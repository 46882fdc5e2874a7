//go:build amd64 && !race

package mem

// setUnless is Word.SetUnless.
//
//go:noescape
func setUnless(p, other *uint64, i uint64) bool
