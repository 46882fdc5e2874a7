//go:build !darwin && !(linux && (amd64 || arm64 || loong64 || ppc64le || riscv64))

package sys

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Errors of the kernel that callers tell apart and that have no equivalent in io/fs.
const (
	ENOMEM = unix.ENOMEM
	EINVAL = unix.EINVAL
)

var errNoMaps = fmt.Errorf("address space on %s/%s: %w", runtime.GOOS, runtime.GOARCH, errors.ErrUnsupported)

// ReserveHint is not available on this system.
func ReserveHint(base, size uint64) (uint64, error) { return 0, errNoMaps }

// MapNone is not available on this system.
func MapNone(base, size uint64) error { return errNoMaps }

// MapFile is not available on this system.
func MapFile(f *os.File, base, size uint64, writable bool) (unsafe.Pointer, error) {
	return nil, errNoMaps
}

// MapToRead is not available on this system.
func MapToRead(f *os.File, size uint64) (unsafe.Pointer, error) { return nil, errNoMaps }

// Unmap is not available on this system.
func Unmap(base, size uint64) error { return errNoMaps }

// PageSize returns the size of a page of the operating system in bytes.
func PageSize() uint64 { return uint64(os.Getpagesize()) }
