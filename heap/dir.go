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
}

func (l location) path() string { return filepath.Join(l.dir, l.file) }

// locate resolves a name, or a path when it contains a separator.
func locate(name string, o *Options) (location, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		return locatePath(name)
	}
	if err := checkName(name); err != nil {
		return location{}, err
	}
	dir, err := privateDir(o)
	dir = filepath.Clean(dir) // with a slash behind it a symlink would be followed
	return location{dir: dir, file: name + suffix, private: true}, err
}

func locatePath(path string) (location, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return location{}, fmt.Errorf("%w %q: %w", ErrName, path, err)
	}
	return location{dir: filepath.Dir(path), file: filepath.Base(path)}, nil
}

func privateDir(o *Options) (string, error) {
	if o.Dir != "" {
		return o.Dir, nil
	}
	if dir := os.Getenv("SHMHEAP_DIR"); dir != "" {
		return dir, nil
	}
	return defaultDir()
}

// openDir opens the directory of l. A private one is made if need be, and refused when it is a
// symlink, belongs to someone else or lets anyone else in.
func (l location) openDir(create bool) (*os.File, error) {
	if l.private && create {
		if err := os.Mkdir(l.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
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
	if err := checkPrivate(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func checkPrivate(f *os.File) error {
	st, err := sys.Stat(f)
	switch {
	case err != nil:
		return err
	case st.UID != os.Geteuid():
		return fmt.Errorf("%w: %s belongs to uid %d", ErrPermission, f.Name(), st.UID)
	case st.Mode&0o077 != 0:
		return fmt.Errorf("%w: %s has mode %04o", ErrInsecure, f.Name(), st.Mode)
	}
	return nil
}

// open opens the heap's file in dir and checks that it is a private regular file of this user.
func (l location) open(dir *os.File) (*os.File, error) {
	f, err := sys.OpenAt(dir, l.file)
	if err != nil {
		return nil, explain(err, l.path(), 0)
	}
	if err := checkFile(f); err != nil {
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

func checkFile(f *os.File) error {
	st, err := sys.Stat(f)
	if err != nil {
		return err
	}
	if !st.Regular {
		return fmt.Errorf("%w: %s is not a regular file", ErrInsecure, f.Name())
	}
	return checkPrivate(f)
}

// openNamed opens directory and file.
func (l location) openNamed() (*os.File, error) {
	dir, err := l.openDir(false)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return l.open(dir)
}
