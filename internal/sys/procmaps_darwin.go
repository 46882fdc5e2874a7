package sys

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// ProcessExists reports whether there is a process, or a zombie, with this id.
func ProcessExists(pid int) bool {
	return pid > 0 && !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// HasProc reports that this system has no /proc.
func HasProc() bool { return false }

// IsGone reports whether an error of this file's functions says that there is no such process.
func IsGone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) }

// kinfo returns what the kernel tells everybody of a process (sysctl kern.proc.pid). x/sys reports a process that is
// not there as EIO, because the answer is empty.
func kinfo(pid int) (*unix.KinfoProc, error) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if errors.Is(err, unix.EIO) {
		err = unix.ESRCH
	}
	return k, os.NewSyscallError("sysctl", err)
}

// ProcessName returns the short name of a process, or "".
func ProcessName(pid int) string {
	k, err := kinfo(pid)
	if err != nil {
		return ""
	}
	return unix.ByteSliceToString(k.Proc.P_comm[:])
}

// stateZombie is SZOMB (xnu bsd/sys/proc.h).
const stateZombie = 5

// StateOf returns what a process does.
func StateOf(pid int) (ProcessState, error) {
	k, err := kinfo(pid)
	if err != nil {
		return ProcessState{}, err
	}
	if k.Proc.P_stat == stateZombie {
		return ProcessState{Ended: true}, nil
	}
	return taskState(pid)
}

// ChildrenOf returns the children of a process, as far as they live.
func ChildrenOf(pid int) ([]int, error) {
	all, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, os.NewSyscallError("sysctl", err)
	}
	var children []int
	for i := range all {
		if int(all[i].Eproc.Ppid) == pid {
			children = append(children, int(all[i].Proc.P_pid))
		}
	}
	return children, nil
}

// OwnGroup makes a command lead a process group of its own. The kernel does not kill it when its parent ends.
func OwnGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// KillGroup kills every process of the group that pid leads. A group that is gone is no error; of one with nothing
// but zombies the system says that it may not be killed.
func KillGroup(pid int) error {
	if err := unix.Kill(-pid, unix.SIGKILL); err != nil && !errorIs(err, unix.ESRCH, unix.EPERM) {
		return os.NewSyscallError("kill", err)
	}
	return nil
}

// CurrentSettings returns what programs that are started now are subject to. The system randomises in a way of its own,
// which it does not tell.
func CurrentSettings() Settings {
	s := Settings{Randomise: -1, RandomBits: -1, StackLimit: -1}
	if release, err := unix.Sysctl("kern.osrelease"); err == nil {
		s.Kernel = release
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_STACK, &limit) == nil {
		s.StackLimit = int64(limit.Cur)
		if limit.Cur == unix.RLIM_INFINITY {
			s.StackLimit = 0
		}
	}
	return s
}
