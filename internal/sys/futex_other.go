//go:build shmheap_portable || !(darwin || (linux && (amd64 || arm64 || loong64 || ppc64le || riscv64)))

package sys

import (
	"time"

	"github.com/shmheap/shmheap/internal/mem"
)

// WaitMethod is how Wait waits.
const WaitMethod = WaitPoll

// Wait is described in futex.go.
func Wait(w *mem.Half, value uint32, d time.Duration) error { return poll(w, value, d) }

// Wake is described in futex.go. Nobody can be woken.
func Wake(w *mem.Half, n int) (int, error) { return CannotTell, nil }

// StandIn is for systems where there is memory that cannot be waited at: here it does nothing.
func StandIn(base, size uint64, words []mem.Half) (remove func()) { return func() {} }
