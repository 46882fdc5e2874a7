//go:build !linux

package sys

import (
	"errors"
	"runtime"
	"time"
)

func pinThread(int) error { return errors.ErrUnsupported }

// Processors returns as many numbers as there are processors; they name none of them.
func Processors() ([]int, error) {
	cpus := make([]int, runtime.NumCPU())
	for i := range cpus {
		cpus[i] = i
	}
	return cpus, nil
}

// Yield lets another goroutine run.
func Yield() { runtime.Gosched() }

// Delayed is not told on this system: 0.
func Delayed() time.Duration { return 0 }
