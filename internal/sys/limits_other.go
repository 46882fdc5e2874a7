//go:build !linux && !darwin

package sys

import "errors"

// AddressLimit is not available on this system.
func AddressLimit() (uint64, error) { return 0, errors.ErrUnsupported }

// MapCountLimit is not available on this system.
func MapCountLimit() (uint64, error) { return 0, errors.ErrUnsupported }

// AddressLimitOf is not available on this system.
func AddressLimitOf(int) (uint64, error) { return 0, errors.ErrUnsupported }
