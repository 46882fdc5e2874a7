package sys

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// RealTime puts the calling thread in front of all ordinary threads of its processor. A process whose
// threads then run for longer than limit without sleeping is killed by the kernel, so that a mistake
// does not take the processor away for good. It needs CAP_SYS_NICE.
func RealTime(limit time.Duration) error {
	const rlimitRTTime = 15
	us := uint64(limit.Microseconds())
	if err := unix.Setrlimit(rlimitRTTime, &unix.Rlimit{Cur: us, Max: us}); err != nil {
		return os.NewSyscallError("setrlimit", err)
	}
	return setPolicy(unix.SCHED_FIFO, 1)
}

// NormalTime takes the thread back among the others.
func NormalTime() error { return setPolicy(unix.SCHED_NORMAL, 0) }

func setPolicy(policy uint32, priority uint32) error {
	a := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy, Priority: priority}
	return os.NewSyscallError("sched_setattr", unix.SchedSetAttr(0, &a, 0))
}
