//go:build linux || darwin

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// MapDevice maps the first size bytes of a device's file, shared, wherever the kernel likes, and returns
// how to take the mapping away.
func MapDevice(f *os.File, size int) (memory []byte, unmap func() error, err error) {
	memory, err = unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, pathError("map", f.Name(), err)
	}
	return memory, func() error { return os.NewSyscallError("munmap", unix.Munmap(memory)) }, nil
}

// MapPages maps n bytes of f from an offset, shared, and returns how to take the mapping away.
func MapPages(f *os.File, off int64, n int, writable bool) (memory []byte, unmap func() error, err error) {
	prot := unix.PROT_READ
	if writable {
		prot |= unix.PROT_WRITE
	}
	memory, err = unix.Mmap(int(f.Fd()), off, n, prot, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, pathError("map", f.Name(), err)
	}
	return memory, func() error { return os.NewSyscallError("munmap", unix.Munmap(memory)) }, nil
}
