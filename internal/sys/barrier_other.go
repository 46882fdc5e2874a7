//go:build !linux

package sys

import "errors"

// RegisterThreadBarrier prepares the process for ThreadBarrier and reports whether the kernel has it.
func RegisterThreadBarrier() bool { return false }

// ThreadBarrier makes every running thread of the process pass a full memory barrier before it returns.
func ThreadBarrier() error { return errors.ErrUnsupported }
