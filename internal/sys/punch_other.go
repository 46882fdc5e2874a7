//go:build !linux && !darwin

package sys

import (
	"errors"
	"fmt"
	"os"
)

// PunchHole would give storage back; not on this system.
func PunchHole(f *os.File, off, n int64) error {
	return fmt.Errorf("punch hole in %s: %w", f.Name(), errors.ErrUnsupported)
}
