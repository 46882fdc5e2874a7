package heap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/shmheap/shmheap/internal/sys"
)

// The rendezvous of the heap FILE is two names beside it: a file whose byte 0 the coordinator has
// locked, and the socket on which it listens. Only the holder of the lock makes and removes either, so
// what is found there without a holder was left by a process that was killed.
const (
	meetingSuffix = ".join"
	socketSuffix  = ".sock"
	lockMeeting   = 0
)

// meeting is the open lock file of a rendezvous.
type meeting struct {
	dir        *os.File // not owned
	file       *os.File
	name, sock string
}

// openMeeting opens the lock file and makes it if need be. Another process may make or remove it at
// any time.
func openMeeting(dir *os.File, heapFile string) (*meeting, error) {
	m := &meeting{dir: dir, name: "." + heapFile + meetingSuffix, sock: "." + heapFile + socketSuffix}
	for range 100 {
		f, err := sys.OpenAt(dir, m.name)
		if errors.Is(err, os.ErrNotExist) {
			f, err = sys.CreateAt(dir, m.name)
		}
		switch {
		case err == nil:
			m.file = f
			if err := (sharing{}).checkFile(f); err != nil {
				return nil, errors.Join(err, f.Close())
			}
			return m, nil
		case !errors.Is(err, os.ErrExist) && !errors.Is(err, os.ErrNotExist):
			return nil, wrapOS(err)
		}
	}
	return nil, fmt.Errorf("%w: %s comes and goes", ErrBusy, m.name)
}

// lead reports whether this process is the coordinator now, until close. A lock on a file that lost its
// name meanwhile is worth nothing.
func (m *meeting) lead() (bool, error) {
	got, err := sys.TryLock(m.file, lockMeeting)
	return got && hasName(m.file), err
}

// listen makes the socket. The lock is held, so a socket that is there is stale.
func (m *meeting) listen() (*net.UnixListener, error) {
	if err := sys.UnlinkAt(m.dir, m.sock); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, wrapOS(err)
	}
	return sys.ListenAt(m.dir, m.sock)
}

// dial connects to the coordinator, which must be a process of the same user.
func (m *meeting) dial(ctx context.Context) (*net.UnixConn, error) {
	conn, err := sys.DialAt(ctx, m.dir, m.sock)
	if err != nil {
		return nil, err
	}
	if _, err := checkPeer(conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// checkPeer refuses other users and returns the pid at the other end, 0 where it cannot be told.
func checkPeer(conn *net.UnixConn) (pid int, err error) {
	uid, pid, err := sys.PeerOf(conn)
	if err == nil && uid != os.Geteuid() {
		err = fmt.Errorf("%w: uid %d is at the rendezvous", ErrPermission, uid)
	}
	return pid, err
}

// remove takes both names away. The lock is held.
func (m *meeting) remove() error {
	err := sys.UnlinkAt(m.dir, m.sock)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, sys.UnlinkAt(m.dir, m.name))
}

// close drops the lock, if this process has it.
func (m *meeting) close() error { return m.file.Close() }

// sweepMeeting removes what coordinators that were killed have left, if name is the lock file of a
// rendezvous.
func sweepMeeting(dir *os.File, name string) {
	heapFile, ok := strings.CutSuffix(name, meetingSuffix)
	if !ok || len(heapFile) < 2 || heapFile[0] != '.' {
		return
	}
	f, err := sys.OpenAt(dir, name)
	if err != nil {
		return
	}
	m := &meeting{dir: dir, file: f, name: name, sock: heapFile + socketSuffix}
	defer m.close()
	if leads, err := m.lead(); err == nil && leads && (sharing{}).checkFile(f) == nil {
		_ = m.remove() // what stays is swept the next time
	}
}
