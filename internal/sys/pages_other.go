//go:build !linux

package sys

import (
	"errors"
	"fmt"
)

var errNoHugePages = fmt.Errorf("huge pages: %w", errors.ErrUnsupported)

// AdviseHuge is not available on this system.
func AdviseHuge(mapping []byte) error { return errNoHugePages }

// CollapseHuge is not available on this system.
func CollapseHuge(mapping []byte) error { return errNoHugePages }

// Populate is not available on this system; touching each page does the same.
func Populate(mapping []byte, write bool) error {
	return fmt.Errorf("populating: %w", errors.ErrUnsupported)
}

// Interleave is not available on this system.
func Interleave(mapping []byte) error {
	return fmt.Errorf("memory policies: %w", errors.ErrUnsupported)
}
