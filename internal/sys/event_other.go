//go:build !linux && !darwin

package sys

import (
	"errors"
	"fmt"
	"os"
)

var errNoEvents = fmt.Errorf("descriptors that become readable: %w", errors.ErrUnsupported)

// Event is not available on this system.
type Event struct{}

// NewEvent is not available on this system.
func NewEvent() (*Event, error) { return nil, errNoEvents }

// Reader returns nil.
func (e *Event) Reader() *os.File { return nil }

// Writer returns nil.
func (e *Event) Writer() *os.File { return nil }

// Wait is not available on this system.
func (e *Event) Wait() error { return errNoEvents }

// Clear is not available on this system.
func (e *Event) Clear() error { return errNoEvents }

// Close is not available on this system.
func (e *Event) Close() error { return errNoEvents }

// SignalEvent is not available on this system.
func SignalEvent(writer *os.File) error { return errNoEvents }
