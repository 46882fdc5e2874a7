package sys

import "math"

// MapCountLimit returns how many mappings a process may have, or math.MaxUint64 where there is no
// limit, as here.
func MapCountLimit() (uint64, error) { return math.MaxUint64, nil }
