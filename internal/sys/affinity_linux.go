package sys

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

func pinThread(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("bind to processor %d: %w", cpu, err)
	}
	return nil
}

// Processors returns the numbers of the processors that the calling thread may run on.
func Processors() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("list processors: %w", err)
	}
	var cpus []int
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// Yield lets another thread run on this processor, if one wants to.
func Yield() { unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// Delayed returns how long the calling thread was ready to run and had no processor, 0 where the kernel
// does not say.
func Delayed() time.Duration {
	text, err := os.ReadFile("/proc/thread-self/schedstat")
	if err != nil {
		return 0
	}
	var ran, waited int64
	if n, _ := fmt.Sscan(string(text), &ran, &waited); n != 2 {
		return 0
	}
	return time.Duration(waited)
}
