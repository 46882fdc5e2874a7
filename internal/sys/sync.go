//go:build linux || darwin

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// SyncMemory writes what has changed in a mapping of a file to the file's storage, and waits for it.
func SyncMemory(mapping []byte) error {
	return os.NewSyscallError("msync", retry(func() error { return unix.Msync(mapping, unix.MS_SYNC) }))
}
