//go:build !linux

package sys

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Allocate would give bytes storage without changing them. These systems have no such call: F_PREALLOCATE
// fills no holes. It returns errors.ErrUnsupported and callers write zeros instead.
func Allocate(f *os.File, off, n int64) error {
	return fmt.Errorf("allocate %s: %w", f.Name(), errors.ErrUnsupported)
}

// Anonymous makes a file of size bytes for the user alone. There is no way to open a file anew that has no name, so it
// has one, in the directory for temporary files, until ForgetAnonymous.
func Anonymous(name string, size int64) (*os.File, error) {
	f, err := os.CreateTemp("", name+"-*")
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}

// ForgetAnonymous takes the name of a file of Anonymous away. It lives as long as a descriptor does, and cannot be
// opened anew.
func ForgetAnonymous(f *os.File) error { return os.Remove(f.Name()) }

// Reopen opens the file behind f anew. Without /proc that needs the name that it has now: a file without one returns
// errors.ErrUnsupported.
func Reopen(f *os.File) (*os.File, error) { return reopen(f, OpenAt) }

// ReopenReadOnly is Reopen for reading alone.
func ReopenReadOnly(f *os.File) (*os.File, error) { return reopen(f, OpenAtReadOnly) }

func reopen(f *os.File, open func(dir *os.File, name string) (*os.File, error)) (*os.File, error) {
	path := pathOf(f)
	dir, err := OpenDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("reopen %s: %w", f.Name(), errors.ErrUnsupported)
	}
	again, err := open(dir, filepath.Base(path))
	if err := errors.Join(err, dir.Close()); err != nil {
		return nil, fmt.Errorf("reopen %s: %w", f.Name(), errors.ErrUnsupported)
	}
	return again, sameFile(f, again)
}

func sameFile(a, b *os.File) error {
	first, err := Stat(a)
	if err != nil {
		return err
	}
	second, err := Stat(b)
	if err != nil {
		return err
	}
	if !first.Same(second) {
		return fmt.Errorf("reopen %s: the name leads to another file", a.Name())
	}
	return nil
}
