//go:build !(amd64 || arm64)

package mem

import "sync/atomic"

// Pause lets some time pass, n times a few nanoseconds, without touching shared memory.
func Pause(n uint32) {
	var own atomic.Uint32
	for range n {
		own.Add(1)
	}
}
