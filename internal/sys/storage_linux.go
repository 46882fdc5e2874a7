package sys

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Allocate gives the n bytes of f at off storage, so that touching them through a mapping cannot fail
// for want of space. What was there stays. It fails with ENOSPC, and with errors.ErrUnsupported on a
// file system that cannot.
func Allocate(f *os.File, off, n int64) error {
	err := retry(func() error { return unix.Fallocate(int(f.Fd()), 0, off, n) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("allocate %s: %w", f.Name(), errors.ErrUnsupported)
	}
	return pathError("allocate", f.Name(), err)
}

// PunchHole gives the storage of the n bytes at off back; they read as zero afterwards.
func PunchHole(f *os.File, off, n int64) error {
	err := retry(func() error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
	return pathError("punch hole", f.Name(), err)
}

// Anonymous makes a file of size bytes that has no name and cannot change its size any more.
func Anonymous(name string, size int64) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, pathError("create memfd", name, err)
	}
	f := os.NewFile(uintptr(fd), "memfd:"+name)
	if err := sealedSize(f, size); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// ForgetAnonymous does nothing: a memfd has no name.
func ForgetAnonymous(*os.File) error { return nil }

func sealedSize(f *os.File, size int64) error {
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	return pathError("seal", f.Name(), err)
}

// Reopen opens the file behind f anew: another open file description, whose locks are its own.
func Reopen(f *os.File) (*os.File, error) { return reopen(f, unix.O_RDWR) }

// ReopenReadOnly is Reopen for reading alone.
func ReopenReadOnly(f *os.File) (*os.File, error) { return reopen(f, unix.O_RDONLY) }

func reopen(f *os.File, access int) (*os.File, error) {
	path := "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(path, access|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		return err
	})
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("reopen %s: %w: /proc is not mounted", f.Name(), errors.ErrUnsupported)
	}
	if err != nil {
		return nil, pathError("reopen", f.Name(), err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
