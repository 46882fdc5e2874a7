package sys

import "golang.org/x/sys/unix"

// The commands of membarrier(2).
const (
	barrierExpedited = 1 << 3 // MEMBARRIER_CMD_PRIVATE_EXPEDITED
	barrierRegister  = 1 << 4 // MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED
)

// RegisterThreadBarrier prepares the process for ThreadBarrier and reports whether the kernel has it: Linux 4.14.
func RegisterThreadBarrier() bool {
	return membarrier(barrierRegister) == nil
}

// ThreadBarrier makes every running thread of the process pass a full memory barrier before it returns. So one
// side of a Dekker handshake needs no barrier of its own.
func ThreadBarrier() error { return membarrier(barrierExpedited) }

func membarrier(command uintptr) error {
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, command, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
