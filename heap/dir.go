package heap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/shmheap/shmheap/internal/sys"
)

// suffix of the files in the private directory.
const suffix = ".heap"

// location is where a heap's file is: a directory and a name in it.
type location struct {
	dir     string
	file    string
	private bool // dir is this project's own and must be private
	sharing sharing
}

func (l location) path() string { return filepath.Join(l.dir, l.file) }

// locate resolves a name, or a path when it contains a separator.
func locate(name string, o *Options) (location, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		return locatePath(name, o)
	}
	if err := checkName(name); err != nil {
		return location{}, err
	}
	s, err := o.sharing()
	if err != nil {
		return location{}, err
	}
	dir, err := privateDir(o, s)
	dir = filepath.Clean(dir) // with a slash behind it a symlink would be followed
	return location{dir: dir, file: name + suffix, private: true, sharing: s}, err
}

func locatePath(path string, o *Options) (location, error) {
	s, err := o.sharing()
	if err != nil {
		return location{}, err
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return location{}, fmt.Errorf("%w %q: %w", ErrName, path, err)
	}
	return location{dir: filepath.Dir(path), file: filepath.Base(path), sharing: s}, nil
}

func privateDir(o *Options, s sharing) (string, error) {
	if o.Dir != "" {
		return o.Dir, nil
	}
	if dir := os.Getenv("SHMHEAP_DIR"); dir != "" {
		return dir, nil
	}
	if s.group {
		return groupDir(s.gid)
	}
	return defaultDir()
}

// openDir opens the directory of l. A private one is made if need be, and refused when it is a
// symlink, belongs to someone else or lets anyone else in. For who creates a heap that there is no directory is no
// reason to try creating it.
func (l location) openDir(create bool) (*os.File, error) {
	dir, err := l.openDirAt(create)
	if create && errors.Is(err, os.ErrNotExist) {
		if cause, ok := errors.AsType[*os.PathError](err); ok {
			err = fmt.Errorf("%w: %w", ErrNoDirectory, cause)
		}
	}
	return dir, err
}

func (l location) openDirAt(create bool) (*os.File, error) {
	if l.private && create {
		if err := l.sharing.makeDir(l.dir); err != nil {
			return nil, wrapOS(err)
		}
	}
	if !l.private {
		f, err := os.Open(l.dir)
		return f, wrapOS(err)
	}
	f, err := sys.OpenDir(l.dir)
	if err != nil {
		return nil, explain(err, l.dir, os.ModeDir)
	}
	err = l.sharing.check(f)
	if err == nil && create {
		err = l.sharing.checkEntry(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func isPrivate(f *os.File, st sys.FileInfo) error {
	switch {
	case st.UID != os.Geteuid():
		return fmt.Errorf("%w: %s belongs to uid %d", ErrPermission, f.Name(), st.UID)
	case st.Mode&0o077 != 0:
		return fmt.Errorf("%w: %s has mode %04o", ErrInsecure, f.Name(), st.Mode)
	}
	return nil
}

// open opens the heap's file in dir and checks that it is a private regular file of this user.
func (l location) open(dir *os.File) (*os.File, error) { return l.openWith(sys.OpenAt, dir) }

func (l location) openWith(open func(*os.File, string) (*os.File, error), dir *os.File) (*os.File, error) {
	f, err := open(dir, l.file)
	if err != nil {
		return nil, explain(err, l.path(), 0)
	}
	if err := l.sharing.checkFile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// explain wraps the error of opening path: with ErrInsecure when something else than wanted is there,
// such as a symlink, a socket, or a directory in place of a file.
func explain(err error, path string, wanted os.FileMode) error {
	if found, e := os.Lstat(path); e == nil && found.Mode().Type() != wanted {
		return fmt.Errorf("%w: %s is %v: %w", ErrInsecure, path, found.Mode(), err)
	}
	return wrapOS(err)
}

// openNamedWith opens directory and file.
func (l location) openNamedWith(open func(*os.File, string) (*os.File, error)) (*os.File, error) {
	dir, err := l.openDir(false)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return l.openWith(open, dir)
}
