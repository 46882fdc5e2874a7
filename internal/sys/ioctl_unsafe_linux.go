package sys

import (
	"errors"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ioctl calls a device with an argument that it reads and writes. It goes on after a signal.
func Ioctl[T any](f *os.File, request uintptr, arg *T) error {
	return control(f, func(fd uintptr) error {
		for {
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(arg)))
			if errno == 0 {
				return nil
			}
			if errno != unix.EINTR {
				return os.NewSyscallError("ioctl", errno)
			}
		}
	})
}

// IoctlNone calls a device without an argument.
func IoctlNone(f *os.File, request uintptr) error {
	return control(f, func(fd uintptr) error {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, request, 0)
		if errno != 0 {
			return os.NewSyscallError("ioctl", errno)
		}
		return nil
	})
}

// IoctlBytes is Ioctl with an argument that has the address of bytes in it, at address.
func IoctlBytes[T any](f *os.File, request uintptr, arg *T, address *uint64, bytes []byte) error {
	*address = 0
	if len(bytes) > 0 {
		var pinner runtime.Pinner // they stay where they are until the call is over
		defer pinner.Unpin()
		pinner.Pin(&bytes[0])
		*address = uint64(uintptr(unsafe.Pointer(&bytes[0])))
	}
	return Ioctl(f, request, arg)
}

// What Ready may be asked for.
const (
	Readable = unix.POLLIN
	Writable = unix.POLLOUT
	Urgent   = unix.POLLPRI
)

// Ready asks a descriptor, which stays open meanwhile, whether something is so now. Where it is not, a device
// may take the question as a request to tell pollers when it becomes so.
func Ready(fd uintptr, what int16) (bool, error) {
	p := []unix.PollFd{{Fd: int32(fd), Events: what}}
	for {
		n, err := unix.Poll(p, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0, os.NewSyscallError("poll", err)
		}
	}
}

// Monotonic returns the time of CLOCK_MONOTONIC, which kernel and programs share.
func Monotonic() (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(now.Nano()), nil
}

// NewFile makes a file of a descriptor that a device has returned.
func NewFile(fd int32, name string) *os.File { return os.NewFile(uintptr(fd), name) }
