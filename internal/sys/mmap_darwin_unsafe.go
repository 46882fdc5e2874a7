//go:build darwin

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapAnonymous maps private memory without access. xnu charges nothing for it before it is touched.
// For the length of the call base is a pointer; x/sys offers no other way to libc's mmap.
func mapAnonymous(base, size uint64, flags uintptr) (uint64, error) {
	p, err := unix.MmapPtr(-1, 0, pointer(base), uintptr(size), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|int(flags))
	if err != nil {
		return 0, os.NewSyscallError("mmap", err)
	}
	return uint64(uintptr(p)), nil
}
