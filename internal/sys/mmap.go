//go:build darwin || (linux && (amd64 || arm64 || loong64 || ppc64le || riscv64))

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// Errors of the kernel that callers tell apart and that have no equivalent in io/fs.
const (
	ENOMEM = unix.ENOMEM
	EINVAL = unix.EINVAL
	EIO    = unix.EIO
	EFAULT = unix.EFAULT
)

// ReserveHint reserves size bytes of address space without access (PROT_NONE) and returns where. The
// kernel places it at base if nothing is there, and anywhere else otherwise; it replaces nothing. The
// caller compares the address and unmaps what it did not want.
func ReserveHint(base, size uint64) (uint64, error) {
	return mapAnonymous(base, size, 0)
}

// MapNone replaces the mappings in [base, base+size), all of which must be the caller's own, by a
// reservation without access. On error the old mappings may be gone (man 2 mmap).
func MapNone(base, size uint64) error {
	_, err := mapAnonymous(base, size, unix.MAP_FIXED)
	return err
}

// PageSize returns the size of a page of the operating system in bytes.
func PageSize() uint64 { return uint64(os.Getpagesize()) }
