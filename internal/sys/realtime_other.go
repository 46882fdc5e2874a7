//go:build !linux

package sys

import (
	"errors"
	"fmt"
	"time"
)

// RealTime is not available on this system.
func RealTime(limit time.Duration) error {
	return fmt.Errorf("real-time priority: %w", errors.ErrUnsupported)
}

// NormalTime does nothing.
func NormalTime() error { return nil }
