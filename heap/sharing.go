package heap

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"

	"github.com/shmheap/shmheap/internal/sys"
)

// sharing says who may have a heap: its user alone, or the members of a group. The zero value is the former.
type sharing struct {
	group bool
	gid   int
	reads bool // members may only read
}

// sharing looks the group up.
func (o *Options) sharing() (sharing, error) {
	switch {
	case o.Group == "" && o.GroupReads:
		return sharing{}, fmt.Errorf("%w: GroupReads without the name of a Group", ErrGroup)
	case o.Group == "":
		return sharing{}, nil
	}
	gid, err := strconv.Atoi(o.Group)
	if err == nil && gid >= 0 {
		return sharing{true, gid, o.GroupReads}, nil
	}
	found, err := user.LookupGroup(o.Group)
	if err != nil {
		return sharing{}, fmt.Errorf("%w: %w", ErrGroup, err)
	}
	gid, err = strconv.Atoi(found.Gid)
	if err != nil {
		return sharing{}, fmt.Errorf("%w: %q has the number %q", ErrGroup, o.Group, found.Gid)
	}
	return sharing{true, gid, o.GroupReads}, nil
}

// Modes of what a group shares. The directory hands its group on; files get it all the same before they get a name.
const (
	groupDirMode   = 0o770 | os.ModeSetgid
	groupFileMode  = 0o660
	groupReadsMode = 0o640
)

// makeDir makes the private directory, if there is none. One that a group shares is its maker's alone until it is
// the group's. Killed in between, the maker leaves an empty one. Where nobody but this package makes it, the maker's next
// Create finishes it; elsewhere it may be meant so, and checkEntry refuses it.
func (s sharing) makeDir(path string) error {
	err := os.Mkdir(path, 0o700)
	made := err == nil
	if !made && !errors.Is(err, os.ErrExist) {
		return err
	}
	if !s.group {
		return nil
	}
	dir, err := sys.OpenDir(path)
	if err != nil {
		return nil // openDir says what is there instead
	}
	defer dir.Close()
	if own, err := groupDir(s.gid); !made && (err != nil || path != own || !isLeft(dir)) {
		return nil
	}
	return errors.Join(dir.Chown(-1, s.gid), dir.Chmod(groupDirMode))
}

// isLeft reports whether a directory may be one whose maker was killed: it is this user's alone, and nothing is in it.
func isLeft(dir *os.File) bool {
	st, err := sys.Stat(dir)
	if err != nil || st.UID != os.Geteuid() || st.Mode != 0o700 {
		return false
	}
	_, err = dir.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

// give lets the group have a new file. Nobody but its maker knows it yet.
func (s sharing) give(f *os.File) error {
	if !s.group {
		return nil
	}
	mode := os.FileMode(groupFileMode)
	if s.reads {
		mode = groupReadsMode
	}
	if err := f.Chown(-1, s.gid); err != nil {
		return wrapOS(err)
	}
	return wrapOS(f.Chmod(mode))
}

// check returns an error when others than those who share the heap can touch f, or own it. A file of a group was
// given to it by a member, as the kernel lets nobody else, or by a directory: see Options.Group.
func (s sharing) check(f *os.File) error {
	st, err := sys.Stat(f)
	if err != nil {
		return err
	}
	if private := isPrivate(f, st); private == nil || !s.group {
		return private
	}
	switch {
	case st.GID != s.gid:
		return fmt.Errorf("%w: %s belongs to group %d, not %d", ErrPermission, f.Name(), st.GID, s.gid)
	case st.Mode&0o007 != 0:
		return fmt.Errorf("%w: %s has mode %04o", ErrInsecure, f.Name(), st.Mode)
	}
	return nil
}

// checkEntry returns an error when members of the group cannot get at what is made in a directory that was there before.
func (s sharing) checkEntry(dir *os.File) error {
	st, err := sys.Stat(dir)
	if err != nil || !s.group {
		return err
	}
	if st.GID != s.gid || st.Mode&0o010 == 0 {
		return fmt.Errorf("%w: its members cannot enter %s, which has group %d and mode %04o", ErrGroup, dir.Name(), st.GID, st.Mode)
	}
	return nil
}

// checkFile is check for the file of a heap.
func (s sharing) checkFile(f *os.File) error {
	st, err := sys.Stat(f)
	if err != nil {
		return err
	}
	if !st.Regular {
		return fmt.Errorf("%w: %s is not a regular file", ErrInsecure, f.Name())
	}
	return s.check(f)
}
