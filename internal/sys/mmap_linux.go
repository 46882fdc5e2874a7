//go:build amd64 || arm64 || loong64 || ppc64le || riscv64

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapAnonymous maps private memory without access and without a commit charge. It does not go
// through unix.MmapPtr, which would make base a pointer: see the package comment.
func mapAnonymous(base, size uint64, flags uintptr) (uint64, error) {
	flags |= unix.MAP_PRIVATE | unix.MAP_ANON | unix.MAP_NORESERVE
	at, _, errno := unix.Syscall6(unix.SYS_MMAP, uintptr(base), uintptr(size), unix.PROT_NONE, flags, ^uintptr(0), 0)
	if errno != 0 {
		return 0, os.NewSyscallError("mmap", errno)
	}
	return uint64(at), nil
}
