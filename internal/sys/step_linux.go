//go:build amd64 || arm64

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// Interrupt stops a seized thread that runs; WaitThread reports it.
func Interrupt(tid int) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_INTERRUPT, uintptr(tid), 0, 0, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("ptrace(PTRACE_INTERRUPT)", errno)
	}
	return nil
}

// Step lets a stopped thread execute one instruction. A system call is one, and may take its time; a
// repeated string instruction is one for each repetition.
func Step(tid int) error {
	return os.NewSyscallError("ptrace(PTRACE_SINGLESTEP)", unix.PtraceSingleStep(tid))
}

// WaitThread is WaitTracee for one thread. Without wait it returns at once, and false when the thread
// has nothing to report.
func WaitThread(tid int, wait bool) (Stop, bool, error) {
	options := unix.WALL
	if !wait {
		options |= unix.WNOHANG
	}
	var status unix.WaitStatus
	var pid int
	err := retry(func() (err error) {
		pid, err = unix.Wait4(tid, &status, options, nil)
		return err
	})
	if err != nil || pid == 0 {
		return Stop{}, false, os.NewSyscallError("wait4", err)
	}
	return newStop(pid, status), true, nil
}
