//go:build linux || darwin

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// LockMemory brings the pages of a mapping into memory and keeps them there until it is unmapped. It fails with
// ENOMEM or EPERM where that is beyond RLIMIT_MEMLOCK.
func LockMemory(mapping []byte) error {
	return os.NewSyscallError("mlock", unix.Mlock(mapping))
}
