//go:build linux || darwin

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// MapDevice maps the first size bytes of a device's file, shared, for reading and writing, wherever the kernel
// likes, and returns how to take the mapping away.
func MapDevice(f *os.File, size int) (memory []byte, unmap func() error, err error) {
	return MapPages(f, 0, size, true)
}

// MapPages maps n bytes of f from an offset on, shared, wherever the kernel likes, and returns how to take the
// mapping away. The file keeps its mode.
func MapPages(f *os.File, off int64, n int, writable bool) (memory []byte, unmap func() error, err error) {
	prot := unix.PROT_READ
	if writable {
		prot |= unix.PROT_WRITE
	}
	err = control(f, func(fd uintptr) (err error) {
		memory, err = unix.Mmap(int(fd), off, n, prot, unix.MAP_SHARED)
		return err
	})
	if err != nil {
		return nil, nil, pathError("map", f.Name(), err)
	}
	return memory, func() error { return os.NewSyscallError("munmap", unix.Munmap(memory)) }, nil
}
