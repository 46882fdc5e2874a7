//go:build !amd64 && !arm64

package mem

import "sync/atomic"

// deviceBarrier is the strongest order that Go has elsewhere: an atomic read-modify-write of memory of
// our own. Whether it orders accesses to devices is the architecture's affair.
func deviceBarrier() {
	var own atomic.Uint32
	own.Add(1)
}
