package sys

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Memory policies (man 2 mbind, get_mempolicy). The kernel reads one bit less than the number says.
const (
	policyInterleave = 3
	policyAllowed    = 1 << 2 // MPOL_F_MEMS_ALLOWED
	maxNodes         = 1024
)

type nodes [maxNodes / 64]uint64

// Interleave spreads pages that get storage from now on over all nodes of the machine that the process may use. On tmpfs
// the policy belongs to the file, and who else maps it follows it too. errors.ErrUnsupported says that the
// kernel knows no nodes.
func Interleave(mapping []byte) error {
	var all nodes
	_, _, errno := unix.Syscall6(unix.SYS_GET_MEMPOLICY, 0, uintptr(unsafe.Pointer(&all)), maxNodes+1, 0, policyAllowed, 0)
	if errno != 0 {
		return policyError("get_mempolicy", errno)
	}
	at := unsafe.Pointer(unsafe.SliceData(mapping))
	_, _, errno = unix.Syscall6(unix.SYS_MBIND, uintptr(at), uintptr(len(mapping)), policyInterleave,
		uintptr(unsafe.Pointer(&all)), maxNodes+1, 0)
	if errno != 0 {
		return policyError("mbind", errno)
	}
	return nil
}

func policyError(call string, errno error) error {
	if errors.Is(errno, unix.ENOSYS) {
		return fmt.Errorf("memory policies: %w", errors.ErrUnsupported)
	}
	return os.NewSyscallError(call, errno)
}
