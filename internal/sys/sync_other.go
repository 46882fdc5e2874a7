//go:build !linux && !darwin

package sys

import "errors"

// SyncMemory is not available on this system.
func SyncMemory([]byte) error { return errors.ErrUnsupported }
