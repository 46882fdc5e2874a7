//go:build !linux

package crash

import "time"

// runDelay is how long a thread has waited for a processor, which other systems do not tell.
type runDelay struct{}

func newRunDelay() runDelay { return runDelay{} }

func (runDelay) read() time.Duration { return 0 }
