//go:build !linux

package sys

import (
	"errors"
	"os"
)

// InsertModule is not available on this system.
func InsertModule(f *os.File, _ string) error {
	return pathError("insert", f.Name(), errors.ErrUnsupported)
}

// RemoveModule is not available on this system.
func RemoveModule(name string) error { return pathError("remove module", name, errors.ErrUnsupported) }
