package sys

import (
	"errors"
	"math"
)

// MapCountLimit returns how many mappings a process may have, or math.MaxUint64 where there is no
// limit, as here.
func MapCountLimit() (uint64, error) { return math.MaxUint64, nil }

// AddressLimitOf is not available on this system.
func AddressLimitOf(int) (uint64, error) { return 0, errors.ErrUnsupported }
