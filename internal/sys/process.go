//go:build unix

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// KillSelf sends SIGKILL to this process and does not return.
func KillSelf() {
	unix.Kill(os.Getpid(), unix.SIGKILL)
	select {}
}

// IsNoSpace reports whether err says that a file system is full or a quota is used up.
func IsNoSpace(err error) bool { return errorIs(err, unix.ENOSPC, unix.EDQUOT) }

// IsSymlink reports whether err says that a symlink was met where none is followed.
func IsSymlink(err error) bool { return errorIs(err, unix.ELOOP, unix.EMLINK) }

// Running reports whether there may be a process with this id. One of another user is running, too.
func Running(pid int) bool { return unix.Kill(pid, 0) != unix.ESRCH }
