//go:build !linux

package sys

import (
	"errors"
	"os"
	"time"
)

// Closings is not available on this system.
type Closings struct{}

// WatchClosings is not available on this system.
func WatchClosings(*os.File) (*Closings, error) { return nil, errors.ErrUnsupported }

// Wait is not available on this system.
func (*Closings) Wait(time.Time) (bool, error) { return false, errors.ErrUnsupported }

// Wake is not available on this system.
func (*Closings) Wake() error { return errors.ErrUnsupported }

// Close is not available on this system.
func (*Closings) Close() error { return nil }
