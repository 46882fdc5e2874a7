//go:build !linux

package sys

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

var errNeedsLinux = fmt.Errorf("needs Linux, this is %s: %w", runtime.GOOS, errors.ErrUnsupported)

// ExecutableMemory is not available on this system.
func ExecutableMemory(string) (*os.File, error) { return nil, errNeedsLinux }

// PathOf returns the path that f was opened with.
func PathOf(f *os.File) string { return f.Name() }

// Privileged reports whether f is setuid or setgid.
func Privileged(f *os.File) (bool, error) {
	info, err := f.Stat()
	return err == nil && info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0, err
}

// OpenProgram is not available on this system.
func OpenProgram() (*os.File, error) { return nil, errNeedsLinux }

// OpenProgramOf is not available on this system.
func OpenProgramOf(int) (*os.File, error) { return nil, errNeedsLinux }

// ReadMemoryOf is not available on this system.
func ReadMemoryOf(int, uint64, []byte) error { return errNeedsLinux }

// EnvironmentOf is not available on this system.
func EnvironmentOf(int, string) (string, error) { return "", errNeedsLinux }

// ReadOwn is not available on this system.
func ReadOwn(uint64, []byte) error { return errNeedsLinux }
