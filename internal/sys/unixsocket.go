//go:build linux || darwin

package sys

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// ListenAt makes a unix socket called name in dir, which must not exist, with mode 0600, and listens
// there. Closing the listener leaves the name; it is the caller's to unlink.
func ListenAt(dir *os.File, name string) (*net.UnixListener, error) {
	path, err := socketPath(dir, name)
	if err != nil {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	if err := unix.Fchmodat(int(dir.Fd()), name, 0o600, 0); err != nil {
		return nil, errors.Join(pathError("chmod", filepath.Join(dir.Name(), name), err), listener.Close())
	}
	runtime.KeepAlive(dir)
	return listener, nil
}

// DialAt connects to the unix socket called name in dir.
func DialAt(ctx context.Context, dir *os.File, name string) (*net.UnixConn, error) {
	path, err := socketPath(dir, name)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	runtime.KeepAlive(dir)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// maxSocketPath is what fits into sun_path with a zero behind it.
const maxSocketPath = len(unix.RawSockaddrUnix{}.Path) - 1

func fitting(path string) (string, error) {
	if len(path) > maxSocketPath {
		return "", fmt.Errorf("socket %s: the path has %d bytes, the system takes %d", path, len(path), maxSocketPath)
	}
	return path, nil
}

// PeerOf returns who is at the other end of conn, as the kernel noted when they connected. pid is 0
// where the process is of another pid namespace.
func PeerOf(conn *net.UnixConn) (uid, pid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { uid, pid, inner = peerOf(int(fd)) }); err != nil {
		return 0, 0, err
	}
	return uid, pid, os.NewSyscallError("getsockopt", inner)
}
