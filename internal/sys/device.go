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
