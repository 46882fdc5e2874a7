//go:build !linux && !darwin

package sys

import (
	"errors"
	"os"
)

// TryLock needs open-file-description locks, which this system lacks.
func TryLock(f *os.File, off int64) (bool, error) { return false, errors.ErrUnsupported }

// TryLockRange needs open-file-description locks, which this system lacks.
func TryLockRange(f *os.File, off, n int64) (bool, error) { return false, errors.ErrUnsupported }

// TryLockShared needs open-file-description locks, which this system lacks.
func TryLockShared(f *os.File, off int64) (bool, error) { return false, errors.ErrUnsupported }

// Unlock needs open-file-description locks, which this system lacks.
func Unlock(f *os.File, off int64) error { return errors.ErrUnsupported }

// UnlockRange needs open-file-description locks, which this system lacks.
func UnlockRange(f *os.File, off, n int64) error { return errors.ErrUnsupported }

// Locked needs open-file-description locks, which this system lacks.
func Locked(f *os.File, off, n int64) (bool, error) { return false, errors.ErrUnsupported }
