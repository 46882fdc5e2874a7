package sys

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// socketPath goes through the descriptor of the directory, so that its own path may be of any length
// and is not looked up again. Where /proc is missing the path must do.
func socketPath(dir *os.File, name string) (string, error) {
	proc := "/proc/self/fd/" + strconv.Itoa(int(dir.Fd()))
	if _, err := os.Lstat(proc); err != nil {
		return fitting(dir.Name() + "/" + name)
	}
	return fitting(proc + "/" + name)
}

func peerOf(fd int) (uid, pid int, err error) {
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, 0, err
	}
	return int(peer.Uid), int(peer.Pid), nil
}
