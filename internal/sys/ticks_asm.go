//go:build amd64 || arm64

package sys

// Ticks reads the processor's own clock, which runs at a constant rate and is the same on all processors
// of every machine that Linux uses it on. How long a tick is must be measured. Everything before the
// call is done when it reads, and nothing behind it has begun.
//
//go:noescape
func Ticks() uint64
