//go:build !linux

package sys

import (
	"errors"
	"fmt"
)

// EachArea is not available on this system.
func EachArea(visit func(Area) error) error {
	return fmt.Errorf("kinds of mapped memory: %w", errors.ErrUnsupported)
}
