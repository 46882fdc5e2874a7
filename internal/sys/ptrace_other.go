//go:build !(linux && (amd64 || arm64))

package sys

import "errors"

// HasPtrace tells whether this build can trace another process.
const HasPtrace = false

// AllowTracer is not available in this build.
func AllowTracer(int) error { return errors.ErrUnsupported }

// NewSession is not available in this build.
func NewSession() error { return errors.ErrUnsupported }

// ThreadID is not available in this build.
func ThreadID() int { return 0 }
