//go:build !shmheap_portable && (amd64 || arm64 || loong64 || ppc64le || riscv64)

package sys

import (
	"errors"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shmheap/shmheap/internal/mem"
)

// WaitMethod is how Wait waits.
const WaitMethod = WaitFutex

// Operations of futex(2), without FUTEX_PRIVATE_FLAG because the word is shared between processes.
const (
	futexWake       = 1
	futexWaitBitset = 9 // the timeout is absolute, of CLOCK_MONOTONIC, and so survives a restart
	futexAnyBit     = 0xffffffff
)

// Wait is described in futex.go.
func Wait(w *mem.Half, value uint32, d time.Duration) error {
	var until *unix.Timespec
	if d >= 0 {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return os.NewSyscallError("clock_gettime", err)
		}
		end := unix.NsecToTimespec(now.Nano() + int64(d))
		until = &end
	}
	_, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), futexWaitBitset, uintptr(value),
		uintptr(unsafe.Pointer(until)), 0, futexAnyBit)
	switch {
	case errno == 0 || errors.Is(errno, unix.EAGAIN) || errors.Is(errno, unix.EINTR):
		return nil
	case errors.Is(errno, unix.ETIMEDOUT):
		return ErrTimeout
	}
	return os.NewSyscallError("futex", errno)
}

// Wake is described in futex.go. It does not block, so the scheduler need not hear of it.
func Wake(w *mem.Half, n int) (int, error) {
	woken, _, errno := unix.RawSyscall(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), futexWake, uintptr(n))
	if errno != 0 {
		return 0, os.NewSyscallError("futex", errno)
	}
	return int(woken), nil
}
