package arena

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/kmod/bpf"
)

// Variable is the environment variable with the directory where arenas have their names.
const Variable = "SHMHEAP_BPF_DIR"

const usualMount = "/sys/fs/bpf"

// directory returns the private directory for new names of a user's arenas, which it makes if need be.
func (k *Kernel) directory(uid int) (string, error) {
	dir := k.options.Dir
	if dir == "" {
		dir = os.Getenv(Variable)
	}
	if dir == "" {
		var err error
		if dir, err = defaultDirectory(uid); err != nil {
			return "", err
		}
	}
	return dir, private(dir, uid)
}

func defaultDirectory(uid int) (string, error) {
	if sys.IsBPF(usualMount) {
		return filepath.Join(usualMount, fmt.Sprintf("shmheap-%d", uid)), nil
	}
	dir := fmt.Sprintf("/run/shmheap-bpf-%d", uid)
	if sys.IsBPF(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", noFileSystem(err)
	}
	if err := sys.MountBPF(dir); err != nil {
		return "", errors.Join(noFileSystem(err), os.Remove(dir))
	}
	return dir, nil
}

func noFileSystem(err error) error {
	return &bpf.SupportError{
		What: "give an arena a name", Err: err,
		Need: "a file system for BPF objects (mount -t bpf bpf " + usualMount + "), or the right to mount one; or a heap without a name",
	}
}

// private makes the directory unless it is there, and refuses one that others may enter.
func private(dir string, uid int) error {
	err := os.Mkdir(dir, 0o700)
	if err == nil && uid != os.Geteuid() {
		err = os.Chown(dir, uid, -1)
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
	switch {
	case err != nil:
		return err
	case st.UID != uid && st.UID != os.Geteuid():
		return fmt.Errorf("%w: %s belongs to uid %d", heap.ErrPermission, dir, st.UID)
	case st.Mode&0o077 != 0:
		return fmt.Errorf("%w: %s has mode %04o", heap.ErrInsecure, dir, st.Mode)
	case !sys.IsBPF(dir):
		return noFileSystem(fmt.Errorf("%s is in another", dir))
	}
	return nil
}
