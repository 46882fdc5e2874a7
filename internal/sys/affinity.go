package sys

import "runtime"

// Pin keeps the calling goroutine on one operating-system thread and that thread on one processor, for
// ever. It returns errors.ErrUnsupported where threads cannot be bound; the goroutine keeps its thread
// then.
func Pin(cpu int) error {
	runtime.LockOSThread()
	return pinThread(cpu)
}
