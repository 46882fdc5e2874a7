//go:build linux || darwin

package sys

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Open-file-description locks on single bytes. The kernel drops one when the last descriptor of the
// description is closed, which is at the latest when the process is gone, for whatever reason it
// dies. Two descriptions exclude each other, also inside one process; one description does not exclude
// itself.

// TryLock locks the byte at off of f for writing and reports whether it could. It does not wait.
func TryLock(f *os.File, off int64) (bool, error) { return TryLockRange(f, off, 1) }

// TryLockRange locks the n bytes at off, all or none.
func TryLockRange(f *os.File, off, n int64) (bool, error) {
	return locked(f, rangeLock(f, off, n, unix.F_WRLCK))
}

// TryLockShared locks the byte at off of f, which need not be writable, together with others that do the
// same, and reports whether it could. TryLock excludes them and is excluded by them.
func TryLockShared(f *os.File, off int64) (bool, error) {
	return locked(f, rangeLock(f, off, 1, unix.F_RDLCK))
}

func locked(f *os.File, err error) (bool, error) {
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, pathError("lock", f.Name(), err)
}

// Unlock releases the byte at off.
func Unlock(f *os.File, off int64) error { return UnlockRange(f, off, 1) }

// UnlockRange releases the n bytes at off, which may be a part of what was locked at once.
func UnlockRange(f *os.File, off, n int64) error {
	return pathError("unlock", f.Name(), rangeLock(f, off, n, unix.F_UNLCK))
}

// Locked reports whether another description than f holds a lock of TryLock on one of the n bytes at off. A
// shared lock, which needs no right to write, does not count.
func Locked(f *os.File, off, n int64) (bool, error) {
	lock := unix.Flock_t{Type: unix.F_RDLCK, Start: off, Len: n}
	err := retry(func() error { return unix.FcntlFlock(f.Fd(), ofdGetLock, &lock) })
	return err == nil && lock.Type != unix.F_UNLCK, pathError("query lock", f.Name(), err)
}

func rangeLock(f *os.File, off, n int64, kind int16) error {
	lock := unix.Flock_t{Type: kind, Start: off, Len: n}
	return retry(func() error { return unix.FcntlFlock(f.Fd(), ofdSetLock, &lock) })
}
