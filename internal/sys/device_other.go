//go:build !linux && !darwin

package sys

import (
	"errors"
	"fmt"
	"os"
)

// MapDevice is not available on this system.
func MapDevice(f *os.File, size int) (memory []byte, unmap func() error, err error) {
	return nil, nil, fmt.Errorf("map %s: %w", f.Name(), errors.ErrUnsupported)
}

// MapPages is not available on this system.
func MapPages(f *os.File, _ int64, _ int, _ bool) (memory []byte, unmap func() error, err error) {
	return nil, nil, fmt.Errorf("map %s: %w", f.Name(), errors.ErrUnsupported)
}
