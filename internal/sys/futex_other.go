//go:build shmheap_portable || !(darwin || (linux && (amd64 || arm64 || loong64 || ppc64le || riscv64)))

package sys

import (
	"time"

	"github.com/shmheap/shmheap/internal/mem"
)

// WaitMethod is how Wait waits.
const WaitMethod = WaitPoll

// longestNap is how late Wait may notice that the word has changed.
const longestNap = time.Millisecond

// Wait is described in futex.go.
func Wait(w *mem.Half, value uint32, d time.Duration) error {
	begin := time.Now()
	for nap := 20 * time.Microsecond; w.Load() == value; nap = min(2*nap, longestNap) {
		if d >= 0 {
			left := d - time.Since(begin)
			if left <= 0 {
				return ErrTimeout
			}
			nap = min(nap, left)
		}
		time.Sleep(nap)
	}
	return nil
}

// Wake is described in futex.go. Nobody can be woken.
func Wake(w *mem.Half, n int) (int, error) { return CannotTell, nil }

// StandIn is for systems where there is memory that cannot be waited at: here it does nothing.
func StandIn(base, size uint64, words []mem.Half) (remove func()) { return func() {} }
