package arena

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/kmod/bpf"
)

// Variable is the environment variable with the directory where arenas have their names.
const Variable = "SHMHEAP_BPF_DIR"

const usualMount = "/sys/fs/bpf"

// directory returns the private directory for new names of the arenas of a user, or of a group, which it makes if need be.
func (k *Kernel) directory(w whose) (string, error) {
	dir := k.options.Dir
	if dir == "" {
		dir = os.Getenv(Variable)
	}
	if dir == "" {
		var err error
		if dir, err = defaultDirectory(w); err != nil {
			return "", err
		}
	}
	return dir, w.private(dir)
}

// whose says who may open an arena: a user, and the members of a group unless that is -1.
type whose struct{ uid, gid int }

// own lets them have a new file or directory, and nobody else.
func (w whose) own(path string, mode os.FileMode) error {
	if w.gid < 0 {
		return os.Chmod(path, mode)
	}
	return errors.Join(os.Chown(path, -1, w.gid), os.Chmod(path, mode|mode>>3))
}

func (w whose) String() string {
	if w.gid < 0 {
		return strconv.Itoa(w.uid)
	}
	return "g" + strconv.Itoa(w.gid)
}

// defaultDirectory prefers the usual place for root only: nobody else may enter it as it comes.
func defaultDirectory(w whose) (string, error) {
	usual := sys.IsBPF(usualMount)
	if usual && w.uid == 0 && w.gid < 0 {
		return filepath.Join(usualMount, "shmheap-0"), nil
	}
	dir := "/run/shmheap-bpf-" + w.String()
	if sys.IsBPF(dir) {
		return dir, nil
	}
	err := w.mount(dir)
	if err != nil && usual {
		return filepath.Join(usualMount, "shmheap-"+w.String()), nil
	}
	return dir, err
}

// mount mounts a file system of their own.
func (w whose) mount(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { // /run, where there is none
		return noFileSystem(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return noFileSystem(err)
	}
	if err := sys.MountBPF(dir); err != nil {
		return errors.Join(noFileSystem(err), os.Remove(dir))
	}
	return w.own(dir, 0o700)
}

func noFileSystem(err error) error {
	return &bpf.SupportError{
		What: "give an arena a name", Err: err,
		Need: "a file system for BPF objects (mount -t bpf bpf " + usualMount + "), or the right to mount one; or a heap without a name",
	}
}

// private makes the directory unless it is there, and refuses one that others may enter.
func (w whose) private(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = w.own(dir, 0o700)
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return noFileSystem(err)
	}
	f, err := sys.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("%w: %w", heap.ErrInsecure, err)
	}
	defer f.Close()
	st, err := sys.Stat(f)
	others := uint32(0o077)
	if w.gid >= 0 && st.GID == w.gid {
		others = 0o007
	}
	switch {
	case err != nil:
		return err
	case st.UID != w.uid && others == 0o077:
		return fmt.Errorf("%w: %s belongs to uid %d", heap.ErrPermission, dir, st.UID)
	case st.Mode&others != 0:
		return fmt.Errorf("%w: %s has mode %04o", heap.ErrInsecure, dir, st.Mode)
	case !sys.IsBPF(dir):
		return noFileSystem(fmt.Errorf("%s is in another", dir))
	}
	return nil
}
