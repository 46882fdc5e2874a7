package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// NewEvent makes an event.
func NewEvent() (*Event, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	f := os.NewFile(uintptr(fd), "eventfd")
	return &Event{f, f}, nil
}
