//go:build !amd64 && !arm64

package sys

import "time"

var ticksFrom = time.Now()

// Ticks reads a monotonic clock in nanoseconds.
func Ticks() uint64 { return uint64(time.Since(ticksFrom)) }
