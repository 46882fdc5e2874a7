//go:build !linux

package sys

import "errors"

// RandomBits is not available on this system.
func RandomBits() (int, error) { return 0, errors.ErrUnsupported }
