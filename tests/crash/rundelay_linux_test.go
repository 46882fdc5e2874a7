package crash

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

// runDelay is how long a thread, which must stay the goroutine's own, has waited for a processor.
type runDelay struct{ f *os.File }

func newRunDelay() runDelay {
	f, err := os.Open("/proc/thread-self/schedstat")
	if err != nil {
		return runDelay{}
	}
	return runDelay{f}
}

// read returns 0 where the kernel does not count. The second number is nanoseconds (Linux,
// Documentation/scheduler/sched-stats.rst).
func (d runDelay) read() time.Duration {
	if d.f == nil {
		return 0
	}
	var buf [64]byte
	n, err := d.f.ReadAt(buf[:], 0)
	fields := bytes.Fields(buf[:n])
	if n == 0 || len(fields) < 2 {
		_ = err // at the end of the file, as always
		return 0
	}
	ns, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	return time.Duration(ns)
}
