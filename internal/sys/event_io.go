//go:build linux || darwin

package sys

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// writeOnce writes without waiting. A full pipe or counter is as readable as can be.
func writeOnce(fd int, b []byte) error {
	_, err := unix.Write(fd, b)
	if errors.Is(err, unix.EAGAIN) {
		return nil
	}
	return os.NewSyscallError("write", err)
}

// readAll reads what there is, without waiting.
func readAll(fd int) error {
	var buf [64]byte
	for {
		n, err := unix.Read(fd, buf[:])
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return os.NewSyscallError("read", err)
		case n < len(buf): // all there was
			return nil
		}
	}
}
