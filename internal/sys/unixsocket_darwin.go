package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// socketPath is the whole path: there is no way to name a socket relative to a descriptor.
func socketPath(dir *os.File, name string) (string, error) {
	return fitting(dir.Name() + "/" + name)
}

func peerOf(fd int) (uid, pid int, err error) {
	peer, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, 0, err
	}
	pid, err = unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	return int(peer.Uid), pid, err
}
