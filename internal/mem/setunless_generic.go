//go:build !amd64 || race

package mem

import "sync/atomic"

// setUnless is Word.SetUnless.
func setUnless(p, other *uint64, i uint64) bool {
	bit := uint64(1) << (i & 63)
	return atomic.LoadUint64(other)&bit == 0 && atomic.OrUint64(p, bit)&bit == 0
}
