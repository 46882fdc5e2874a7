//go:build !linux && !darwin

package sys

import "errors"

// EachMapping is not available on this system.
func EachMapping(visit func(Mapping) error) error { return errors.ErrUnsupported }

// AddressBits is not available on this system.
func AddressBits() (int, error) { return 0, errors.ErrUnsupported }
