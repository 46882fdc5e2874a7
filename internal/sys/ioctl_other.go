//go:build !linux

package sys

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// What Ready may be asked for.
const (
	Readable = 1
	Writable = 4
	Urgent   = 2
)

var errNoDevices = fmt.Errorf("calls of devices: %w", errors.ErrUnsupported)

// Ioctl is not available on this system.
func Ioctl[T any](*os.File, uintptr, *T) error { return errNoDevices }

// IoctlNone is not available on this system.
func IoctlNone(*os.File, uintptr) error { return errNoDevices }

// IoctlBytes is not available on this system.
func IoctlBytes[T any](*os.File, uintptr, *T, *uint64, []byte) error { return errNoDevices }

// Ready is not available on this system.
func Ready(uintptr, int16) (bool, error) { return false, errNoDevices }

// Monotonic is not available on this system.
func Monotonic() (time.Duration, error) { return 0, errNoDevices }

// NewFile is not available on this system.
func NewFile(int32, string) *os.File { return nil }
