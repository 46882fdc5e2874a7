package heap

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
)

// wantRefused fails the test unless every way to the heap named a is refused with one of the errors.
func wantRefused(t *testing.T, o *Options, targets ...error) {
	t.Helper()
	opened, err := Open("a", o)
	if err == nil {
		opened.Close()
	}
	wantOneOf(t, "open", err, targets)
	_, err = Stat("a", o)
	wantOneOf(t, "stat", err, targets)
	wantOneOf(t, "remove", Remove("a", o), targets)
}

func wantOneOf(t *testing.T, what string, err error, targets []error) {
	t.Helper()
	for _, target := range targets {
		if errors.Is(err, target) {
			return
		}
	}
	t.Errorf("%s: error %v, want one of %v", what, err, targets)
}

// closedHeap makes a heap that nobody has open, and returns its path.
func closedHeap(t *testing.T, o *Options) string {
	t.Helper()
	h := mustCreate(t, "a", o)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	return h.Path()
}

// TestFileThatIsNotPrivate: a heap that others may read or write is not opened.
func TestFileThatIsNotPrivate(t *testing.T) {
	for _, mode := range []os.FileMode{0o644, 0o660, 0o606, 0o601, 0o666} {
		t.Run(fmt.Sprintf("%04o", mode), func(t *testing.T) {
			o := newOptions(t)
			path := closedHeap(t, o)
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			wantRefused(t, o, ErrInsecure)
			_, err := Open(path, nil)
			wantError(t, "open by path", err, ErrInsecure)
			if err := os.Chmod(path, 0o600); err != nil {
				t.Fatal(err)
			}
			mustOpen(t, "a", o)
		})
	}
}

// TestDirectoryThatIsNotPrivate: the private directory lets nobody else in, or is not used.
func TestDirectoryThatIsNotPrivate(t *testing.T) {
	for _, mode := range []os.FileMode{0o777, 0o777 | os.ModeSticky, 0o755, 0o710, 0o701} {
		t.Run(mode.String(), func(t *testing.T) {
			o := newOptions(t)
			path := closedHeap(t, o)
			if err := os.Chmod(o.Dir, mode); err != nil {
				t.Fatal(err)
			}
			wantRefused(t, o, ErrInsecure)
			_, err := Create("b", o)
			wantError(t, "create", err, ErrInsecure)
			_, err = List(o)
			wantError(t, "list", err, ErrInsecure)
			wantFiles(t, o.Dir, "a.heap")
			mustOpen(t, path, nil) // the file itself is private, and a path need not be in a private directory
		})
	}
}

// TestSymlinkAsFile: the heap's file must be where its name says.
func TestSymlinkAsFile(t *testing.T) {
	o := newOptions(t)
	path := closedHeap(t, o)
	target := filepath.Join(t.TempDir(), "elsewhere")
	if err := errors.Join(os.Rename(path, target), os.Symlink(target, path)); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, o, ErrInsecure)
	_, err := Open(path, nil)
	wantError(t, "open by path", err, ErrInsecure)
	_, err = Create("a", o)
	wantError(t, "create", err, ErrExist)
	if err := os.Remove(target); err != nil {
		t.Fatal(err)
	}
	_, err = Create("a", o)
	wantError(t, "create through a dangling symlink", err, ErrExist)
	wantFiles(t, filepath.Dir(target))
}

// TestSymlinkAsDirectory: nor is the private directory reached through one.
func TestSymlinkAsDirectory(t *testing.T) {
	o := newOptions(t)
	closedHeap(t, o)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(o.Dir, link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{link, link + "/", link + "/."} {
		o.Dir = dir
		wantRefused(t, o, ErrInsecure)
		_, err := Create("b", o)
		wantError(t, "create in "+dir, err, ErrInsecure)
		_, err = List(o)
		wantError(t, "list "+dir, err, ErrInsecure)
	}
}

func TestFileAsDirectory(t *testing.T) {
	o := newOptions(t)
	if err := os.WriteFile(o.Dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, o, ErrInsecure)
	_, err := Create("a", o)
	wantError(t, "create", err, ErrInsecure)
}

// TestNotARegularFile: what is not a file is refused, at once and without touching it.
func TestNotARegularFile(t *testing.T) {
	for what, put := range map[string]func(path string) error{
		"FIFO":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"socket": func(path string) error {
			l, err := net.Listen("unix", path)
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		},
		"device": func(path string) error { return syscall.Mknod(path, syscall.S_IFCHR|0o600, 1<<8|5) }, // /dev/zero
	} {
		t.Run(what, func(t *testing.T) {
			o := newOptions(t)
			closedHeap(t, o)
			if err := Remove("a", o); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(o.Dir, "a.heap")
			if err := put(path); errors.Is(err, os.ErrPermission) {
				shmtest.Skip(t, err.Error(), "run the tests as root")
			} else if err != nil {
				t.Fatal(err)
			}
			wantRefused(t, o, ErrInsecure)
			_, err := Open(path, nil)
			wantError(t, "open by path", err, ErrInsecure)
			_, err = Create("a", o)
			wantError(t, "create", err, ErrExist)
			wantFiles(t, o.Dir, "a.heap")
		})
	}
	for _, path := range []string{"/dev/null", "/dev/zero", "/proc/self/mem", "/"} {
		if h, err := Open(path, nil); err == nil {
			t.Errorf("opened %s", path)
			h.Close()
		}
	}
}

const nobody = 65534

// publicDir returns a directory that every user can reach, of the given owner and mode.
func publicDir(t *testing.T, owner int, mode os.FileMode) string {
	t.Helper()
	dir, err := os.MkdirTemp(os.TempDir(), "shmheap-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := errors.Join(os.Chmod(dir, mode), os.Chown(dir, owner, owner)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// needRoot skips a test that becomes another user.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		shmtest.Skip(t, "becoming another user needs root", "run the tests as root")
	}
}

// otherUser starts a process of another user, whose private directory is dir.
func otherUser(t *testing.T, dir string, files ...*os.File) peer {
	t.Helper()
	program := filepath.Join(publicDir(t, 0, 0o755), "heap.test")
	from, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(program, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Chmod(0o755), to.Close()); err != nil {
		t.Fatal(err)
	}
	cmd := shmtest.Command("peer", dir)
	cmd.Path, cmd.Dir, cmd.ExtraFiles = program, "/", files
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return peer{shmtest.StartCommand(t, cmd)}
}

// TestAnotherUsersHeap: nobody else gets at a heap, by its name, its path or its descriptor.
func TestAnotherUsersHeap(t *testing.T) {
	needRoot(t)
	o := newOptions(t)
	public := publicDir(t, 0, 0o755)
	o.Dir = filepath.Join(public, "heaps")
	h := mustCreate(t, "a", o)
	o.Path = filepath.Join(public, "shared")
	mustCreate(t, "shared", o)
	f, err := h.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := otherUser(t, o.Dir, f)
	for _, command := range []string{"open a", "create b", "remove a", "open " + o.Path, "remove " + o.Path, "open-descriptor"} {
		if got := p.do(command); got != "ErrPermission" {
			t.Errorf("another user: %s: %s", command, got)
		}
	}
	if err := os.Chmod(o.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if got := p.do("open a"); got != "ErrPermission" {
		t.Errorf("another user opens a heap in an open directory: %s", got)
	}
	if got := p.do("open " + h.Path()); got != "ErrPermission" {
		t.Errorf("another user opens by path: %s", got)
	}
}

// TestAnotherUsersDirectory: a directory or a file that somebody else put in place of ours is refused,
// although we could use it.
func TestAnotherUsersDirectory(t *testing.T) {
	needRoot(t)
	o := newOptions(t)
	o.Dir = filepath.Join(publicDir(t, nobody, 0o700), "heaps")
	p := otherUser(t, o.Dir)
	p.mustDo(t, "create", "a")
	wantRefused(t, o, ErrPermission)
	_, err := Create("b", o)
	wantError(t, "create in another user's directory", err, ErrPermission)
	_, err = List(o)
	wantError(t, "list another user's directory", err, ErrPermission)
	_, err = Open(filepath.Join(o.Dir, "a.heap"), nil)
	wantError(t, "open another user's file", err, ErrPermission)

	if err := os.Chown(o.Dir, 0, 0); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, o, ErrPermission) // the file is still his
	infos := wantList(t, o, "a!")
	wantError(t, "list another user's file", infos[0].Err, ErrPermission)
}

// TestAnotherUsersHeapsAreHis: what is refused to others works for their owner.
func TestAnotherUsersHeapsAreHis(t *testing.T) {
	needRoot(t)
	dir := filepath.Join(publicDir(t, nobody, 0o700), "heaps")
	p, q := otherUser(t, dir), otherUser(t, dir)
	p.mustDo(t, "create", "a")
	q.mustDo(t, "open", "a")
	if q.id(t) != MakePeerID(1, 1) {
		t.Errorf("peer %v", q.id(t))
	}
}

// TestGroupDirectoryLeftBehind: a group's own directory whose maker was killed before it was the group's becomes so, and
// one in which the user has something is left as it is.
func TestGroupDirectoryLeftBehind(t *testing.T) {
	if os.Geteuid() != 0 {
		shmtest.Skip(t, "giving a directory to another group needs root", "run the tests as root")
	}
	t.Setenv("SHMHEAP_DIR", "")
	gid := 1<<20 + os.Getpid()
	path, err := groupDir(gid)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(path) })
	o := newOptions(t)
	o.Dir, o.Group = "", strconv.Itoa(gid)
	mine := filepath.Join(path, "mine")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Create("a", o)
	wantError(t, "create where the user has something", err, ErrGroup)
	if err := os.Remove(mine); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, "a", o)
	dir, err := sys.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if st, err := sys.Stat(dir); err != nil || st.Mode != 0o2770 || st.GID != gid {
		t.Errorf("mode %o of group %d: %v", st.Mode, st.GID, err)
	}
}
