//go:build !shmheap_portable

package sys

import (
	"errors"
	"fmt"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shmheap/shmheap/internal/mem"
)

// WaitMethod is how Wait waits.
const WaitMethod = WaitUlock

// The system calls below os_sync_wait_on_address (xnu bsd/kern/syscalls.master, bsd/sys/ulock.h). With
// the shared operation the kernel finds the word by the memory object behind it, so processes may map
// it where they like. x/sys does not wrap them.
const (
	sysUlockWait     = 515
	sysUlockWake     = 516
	ulockShared      = 3     // UL_COMPARE_AND_WAIT_SHARED
	ulockWakeAll     = 0x100 // ULF_WAKE_ALL
	longestUlockWait = 1000 * time.Second
)

// Wait is described in futex.go. ulock_wait takes microseconds in 32 bits and 0 for no end.
//
// It was written from the xnu sources and has not been run.
func Wait(w *mem.Half, value uint32, d time.Duration) error {
	limit := time.Duration(0)
	if d >= 0 {
		limit = max(min(d, longestUlockWait), time.Microsecond)
	}
	_, _, errno := syscall.Syscall6(sysUlockWait, ulockShared, uintptr(unsafe.Pointer(w)), uintptr(value),
		uintptr(limit/time.Microsecond), 0, 0)
	switch {
	case errno == 0 || errors.Is(errno, unix.EINTR):
		return nil
	case errors.Is(errno, unix.EFAULT): // paged out
		return poll(w, value, d)
	case errors.Is(errno, unix.ETIMEDOUT):
		if d > longestUlockWait {
			return nil
		}
		return ErrTimeout
	}
	return fmt.Errorf("ulock_wait: %w", errno)
}

// Wake is described in futex.go.
func Wake(w *mem.Half, n int) (int, error) {
	op := uintptr(ulockShared)
	if n > 1 {
		op |= ulockWakeAll
	}
	_, _, errno := syscall.Syscall(sysUlockWake, op, uintptr(unsafe.Pointer(w)), 0)
	switch {
	case errors.Is(errno, unix.ENOENT):
		return 0, nil
	case errno != 0:
		return 0, fmt.Errorf("ulock_wake: %w", errno)
	}
	return CannotTell, nil
}

// StandIn is for systems where there is memory that cannot be waited at: here it does nothing.
func StandIn(base, size uint64, words []mem.Half) (remove func()) { return func() {} }
