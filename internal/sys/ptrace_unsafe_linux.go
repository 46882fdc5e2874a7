//go:build amd64 || arm64

package sys

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SignalMask is the set of signals that a thread keeps for later.
type SignalMask uint64

// AllSignals is every signal; the kernel leaves out SIGKILL and SIGSTOP.
const AllSignals SignalMask = 1<<64 - 1

// GetSignalMask reads the mask of a stopped thread.
func GetSignalMask(pid int) (mask SignalMask, err error) {
	return mask, maskRequest("ptrace(PTRACE_GETSIGMASK)", unix.PTRACE_GETSIGMASK, pid, &mask)
}

// Set writes the mask of a stopped thread.
func (m SignalMask) Set(pid int) error {
	return maskRequest("ptrace(PTRACE_SETSIGMASK)", unix.PTRACE_SETSIGMASK, pid, &m)
}

func maskRequest(name string, request uintptr, pid int, mask *SignalMask) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, request, uintptr(pid), unsafe.Sizeof(*mask),
		uintptr(unsafe.Pointer(mask)), 0, 0)
	if errno != 0 {
		return os.NewSyscallError(name, errno)
	}
	return nil
}
