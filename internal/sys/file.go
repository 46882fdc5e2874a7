package sys

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// FileInfo is what fstat says of an open file.
type FileInfo struct {
	UID, GID  int
	Mode      uint32 // permission bits
	Regular   bool
	Directory bool
	Links     uint64
	Size      int64
	Allocated int64 // bytes that have storage
	BlockSize int64 // preferred unit of access; the page size on hugetlbfs
	Device    uint64
	Inode     uint64
}

// Same reports whether both describe one file.
func (a FileInfo) Same(b FileInfo) bool { return a.Device == b.Device && a.Inode == b.Inode }

// Stat describes f.
func Stat(f *os.File) (FileInfo, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(int(f.Fd()), &st) }); err != nil {
		return FileInfo{}, fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	return FileInfo{
		UID:       int(st.Uid),
		GID:       int(st.Gid),
		Mode:      uint32(st.Mode) & 0o7777,
		Regular:   uint32(st.Mode)&unix.S_IFMT == unix.S_IFREG,
		Directory: uint32(st.Mode)&unix.S_IFMT == unix.S_IFDIR,
		Links:     uint64(st.Nlink),
		Size:      st.Size,
		Allocated: st.Blocks * 512,
		BlockSize: int64(st.Blksize),
		Device:    uint64(st.Dev),
		Inode:     st.Ino,
	}, nil
}

// OpenDir opens the directory itself: it follows no symlink in the last component.
func OpenDir(path string) (*os.File, error) {
	return open(unix.AT_FDCWD, path, path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
}

// OpenAt opens name in dir for reading and writing. It follows no symlink and does not block on a
// FIFO or a device.
func OpenAt(dir *os.File, name string) (*os.File, error) {
	return open(int(dir.Fd()), name, filepath.Join(dir.Name(), name), unix.O_RDWR|unix.O_NONBLOCK, 0)
}

// OpenAtReadOnly is OpenAt for reading alone.
func OpenAtReadOnly(dir *os.File, name string) (*os.File, error) {
	return open(int(dir.Fd()), name, filepath.Join(dir.Name(), name), unix.O_RDONLY|unix.O_NONBLOCK, 0)
}

// CreateAt makes name in dir, which must not exist, with mode 0600 whatever the umask.
func CreateAt(dir *os.File, name string) (*os.File, error) {
	f, err := open(int(dir.Fd()), name, filepath.Join(dir.Name(), name), unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o600); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// LinkAt gives the file named from in dir the second name to, and fails with EEXIST when it is taken. A
// file system without hard links is errors.ErrUnsupported.
func LinkAt(dir *os.File, from, to string) error {
	err := unix.Linkat(int(dir.Fd()), from, int(dir.Fd()), to, 0)
	if errorIs(err, unix.EPERM, unix.ENOTSUP) {
		err = fmt.Errorf("%w: hard links", errors.ErrUnsupported)
	}
	return pathError("link", filepath.Join(dir.Name(), to), err)
}

// RenameAt gives the file named from in dir the name to instead, and fails with EEXIST when that is
// taken. Where the system cannot do that in one step the file has both names for a moment.
func RenameAt(dir *os.File, from, to string) error {
	err := renameExclusive(int(dir.Fd()), from, to)
	if errorIs(err, unix.EINVAL, unix.ENOSYS, unix.ENOTSUP) {
		if err := LinkAt(dir, from, to); err != nil {
			return err
		}
		return UnlinkAt(dir, from)
	}
	return pathError("rename", filepath.Join(dir.Name(), to), err)
}

// UnlinkAt removes name from dir.
func UnlinkAt(dir *os.File, name string) error {
	return pathError("unlink", filepath.Join(dir.Name(), name), unix.Unlinkat(int(dir.Fd()), name, 0))
}

func open(dirfd int, name, path string, flags int, mode uint32) (*os.File, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat(dirfd, name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, mode)
		return err
	})
	if err != nil {
		return nil, pathError("open", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: path, Err: err}
}

// Duplicate returns another descriptor of the same open file description.
func Duplicate(f *os.File) (*os.File, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, pathError("duplicate", f.Name(), err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// retry calls f again as long as a signal interrupts it.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// control calls f with the descriptor of a file that stays open meanwhile.
func control(f *os.File, call func(fd uintptr) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := conn.Control(func(fd uintptr) { inner = call(fd) }); err != nil {
		return os.ErrClosed // the one reason for which Control does not call
	}
	return inner
}

// SendFile passes f to the process at the other end of conn. f stays open until it is sent, though the caller may have no
// more use for it.
func SendFile(conn *net.UnixConn, f *os.File) error {
	return control(f, func(fd uintptr) error {
		_, _, err := conn.WriteMsgUnix([]byte{0}, unix.UnixRights(int(fd)), nil)
		return err
	})
}

// ReceiveFile takes the descriptor that the other end of conn sent with SendFile.
func ReceiveFile(conn *net.UnixConn) (*os.File, error) {
	data, control := make([]byte, 1), make([]byte, unix.CmsgSpace(4*8))
	_, n, _, _, err := conn.ReadMsgUnix(data, control)
	if err != nil {
		return nil, err
	}
	fds, err := receivedFDs(control[:n])
	if err != nil {
		return nil, err
	}
	if len(fds) != 1 {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return nil, fmt.Errorf("received %d descriptors, want one", len(fds))
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), "received"), nil
}

func receivedFDs(control []byte) (fds []int, err error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		got, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // another kind of control message
		}
		fds = append(fds, got...)
	}
	return fds, nil
}

func errorIs(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}
