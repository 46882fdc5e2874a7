package main

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/shmheap/shmheap/internal/guest"
)

// kernelLog reads what the kernel logs, from its beginning.
type kernelLog struct{ fd int }

func openLog() (*kernelLog, error) {
	fd, err := syscall.Open("/dev/kmsg", syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/kmsg: %w", err)
	}
	return &kernelLog{fd}, nil
}

// repeat prints what has been logged since it was called last. Half a line of a program may stand before it.
func (l *kernelLog) repeat() error {
	record := make([]byte, 16<<10) // no record is longer
	for first := true; ; first = false {
		n, err := syscall.Read(l.fd, record)
		switch {
		case errors.Is(err, syscall.EAGAIN):
			return nil
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EPIPE):
			fmt.Println("\n" + guest.KernelLine(0, guest.LogLost))
			continue
		case err != nil:
			return fmt.Errorf("read /dev/kmsg: %w", err)
		}
		if first {
			fmt.Println()
		}
		print(string(record[:n]))
	}
}

func print(record string) {
	level, lines, ok := guest.ParseRecord(record)
	if !ok {
		return
	}
	for _, line := range lines {
		fmt.Println(guest.KernelLine(level, line))
	}
}
