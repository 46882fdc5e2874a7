//go:build !linux && !darwin

package sys

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
)

var errNoPeers = fmt.Errorf("unix sockets that tell who is at the other end: %w", errors.ErrUnsupported)

// ListenAt is not available on this system.
func ListenAt(dir *os.File, name string) (*net.UnixListener, error) { return nil, errNoPeers }

// DialAt is not available on this system.
func DialAt(ctx context.Context, dir *os.File, name string) (*net.UnixConn, error) {
	return nil, errNoPeers
}

// PeerOf is not available on this system.
func PeerOf(conn *net.UnixConn) (uid, pid int, err error) { return 0, 0, errNoPeers }
