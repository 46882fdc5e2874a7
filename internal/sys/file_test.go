//go:build linux || darwin

package sys

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openedDir returns a new directory, opened.
func openedDir(t *testing.T) *os.File {
	t.Helper()
	dir, err := OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir
}

// created returns a new file in dir.
func created(t *testing.T, dir *os.File, name string) *os.File {
	t.Helper()
	f, err := CreateAt(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func mustStat(t *testing.T, f *os.File) FileInfo {
	t.Helper()
	st, err := Stat(f)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func wantError(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: error %v, want %v", what, err, target)
	}
}

// wantCloseOnExec fails the test when a program that this process starts would inherit f.
func wantCloseOnExec(t *testing.T, what string, f *os.File) {
	t.Helper()
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("%s: descriptor flags %#x, %v", what, flags, err)
	}
}

func TestStat(t *testing.T) {
	dir := openedDir(t)
	f := created(t, dir, "a")
	if err := errors.Join(f.Truncate(12345), LinkAt(dir, "a", "b")); err != nil {
		t.Fatal(err)
	}
	st := mustStat(t, f)
	if st.UID != os.Getuid() || st.Mode != 0o600 || !st.Regular || st.Directory || st.Links != 2 || st.Size != 12345 || st.BlockSize <= 0 {
		t.Errorf("file: %+v", st)
	}
	of := mustStat(t, dir)
	if !of.Directory || of.Regular || of.Same(st) {
		t.Errorf("directory: %+v", of)
	}
	again, err := OpenAt(dir, "b")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if other := mustStat(t, again); !other.Same(st) {
		t.Errorf("two names: %+v and %+v", st, other)
	}
	f.Close()
	if _, err := Stat(f); err == nil {
		t.Error("described a closed file")
	}
}

func TestOpenDir(t *testing.T) {
	dir := openedDir(t)
	wantCloseOnExec(t, "directory", dir)
	created(t, dir, "file")
	link := filepath.Join(dir.Name(), "link")
	if err := os.Symlink(dir.Name(), link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{link, filepath.Join(dir.Name(), "file"), filepath.Join(dir.Name(), "missing")} {
		if f, err := OpenDir(name); err == nil {
			t.Errorf("opened %s as a directory", f.Name())
			f.Close()
		}
	}
}

func TestCreateAt(t *testing.T) {
	dir := openedDir(t)
	for _, mask := range []int{0, 0o777} {
		old := unix.Umask(mask)
		f := created(t, dir, fmt.Sprint(mask))
		unix.Umask(old)
		if st := mustStat(t, f); st.Mode != 0o600 || st.Size != 0 {
			t.Errorf("with umask %04o: %+v", mask, st)
		}
		wantCloseOnExec(t, "created", f)
	}
	if err := os.Symlink("target", filepath.Join(dir.Name(), "dangling")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"0", "dangling"} {
		_, err := CreateAt(dir, name)
		wantError(t, "create "+name, err, fs.ErrExist)
	}
	if _, err := os.Lstat(filepath.Join(dir.Name(), "target")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the symlink was followed: %v", err)
	}
}

func TestOpenAt(t *testing.T) {
	dir := openedDir(t)
	f := created(t, dir, "file")
	if err := os.Symlink("file", filepath.Join(dir.Name(), "link")); err != nil {
		t.Fatal(err)
	}
	again, err := OpenAt(dir, "file")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	wantCloseOnExec(t, "opened", again)
	if again.Name() != filepath.Join(dir.Name(), "file") || !mustStat(t, again).Same(mustStat(t, f)) {
		t.Errorf("opened %s", again.Name())
	}
	if _, err := again.WriteString("x"); err != nil {
		t.Error(err)
	}
	_, err = OpenAt(dir, "missing")
	wantError(t, "missing", err, fs.ErrNotExist)
	if _, err = OpenAt(dir, "link"); !IsSymlink(err) {
		t.Errorf("symlink: %v", err)
	}
	if _, err = OpenAt(dir, "."); err == nil || IsSymlink(err) || IsNoSpace(err) {
		t.Errorf("directory: %v", err)
	}
}

// TestOpenAtDoesNotBlock: nobody is at the other end of the FIFO.
func TestOpenAtDoesNotBlock(t *testing.T) {
	dir := openedDir(t)
	if err := unix.Mkfifo(filepath.Join(dir.Name(), "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenAt(dir, "fifo")
	if err != nil {
		return // some systems refuse
	}
	defer f.Close()
	if st := mustStat(t, f); st.Regular || st.Directory {
		t.Errorf("%+v", st)
	}
}

func TestLinkAndUnlink(t *testing.T) {
	dir := openedDir(t)
	f := created(t, dir, "a")
	created(t, dir, "taken")
	wantError(t, "link to a name that is taken", LinkAt(dir, "a", "taken"), fs.ErrExist)
	wantError(t, "link from nothing", LinkAt(dir, "missing", "b"), fs.ErrNotExist)
	if err := errors.Join(LinkAt(dir, "a", "b"), UnlinkAt(dir, "a")); err != nil {
		t.Fatal(err)
	}
	if st := mustStat(t, f); st.Links != 1 {
		t.Errorf("%d links", st.Links)
	}
	if err := RenameAt(dir, "b", "a"); err != nil {
		t.Error(err)
	}
	wantError(t, "rename to a name that is taken", RenameAt(dir, "a", "taken"), fs.ErrExist)
	wantError(t, "rename from nothing", RenameAt(dir, "missing", "c"), fs.ErrNotExist)
	if err := RenameAt(dir, "a", "b"); err != nil {
		t.Error(err)
	}
	wantError(t, "unlink twice", UnlinkAt(dir, "a"), fs.ErrNotExist)
	if err := UnlinkAt(dir, "b"); err != nil {
		t.Fatal(err)
	}
	if st := mustStat(t, f); st.Links != 0 {
		t.Errorf("%d links", st.Links)
	}
}

// sockets returns the two ends of a connection.
func sockets(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err = net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	b, err = l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return a, b
}

func TestSendAndReceiveFile(t *testing.T) {
	a, b := sockets(t)
	f := created(t, openedDir(t), "a")
	if err := SendFile(a, f); err != nil {
		t.Fatal(err)
	}
	got, err := ReceiveFile(b)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	wantCloseOnExec(t, "received", got)
	if !mustStat(t, got).Same(mustStat(t, f)) {
		t.Error("another file arrived")
	}
}

// TestSendKeepsTheFile: a file that nobody has a use for any more but SendFile, which waits for room, is not closed by the
// garbage collector.
func TestSendKeepsTheFile(t *testing.T) {
	a, b := sockets(t)
	filled := fill(t, a)
	name := created(t, openedDir(t), "a").Name()
	opened, sent := make(chan struct{}), make(chan error)
	go func() {
		f, err := os.Open(name)
		close(opened)
		if err == nil {
			err = SendFile(a, f)
		}
		sent <- err
	}()
	<-opened
	for range 50 {
		runtime.GC()
	}
	if _, err := io.CopyN(io.Discard, b, filled); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	got, err := ReceiveFile(b)
	if err != nil {
		t.Fatal(err)
	}
	got.Close()
}

// fill writes until the socket takes no more, and returns how many bytes.
func fill(t *testing.T, conn *net.UnixConn) (bytes int64) {
	t.Helper()
	if err := conn.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for {
		n, err := conn.Write(make([]byte, 1<<10))
		bytes += int64(n)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	return bytes
}

// TestReceiveSomethingElse: no file, two files and the end of the connection are errors, and keep no
// descriptor open.
func TestReceiveSomethingElse(t *testing.T) {
	a, b := sockets(t)
	f := created(t, openedDir(t), "a")
	fd := int(f.Fd())
	for what, control := range map[string][]byte{"nothing": nil, "two files": unix.UnixRights(fd, fd)} {
		next := lowestFree(t)
		if _, _, err := a.WriteMsgUnix([]byte{0}, control, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := ReceiveFile(b); err == nil {
			t.Errorf("%s: no error", what)
		}
		if now := lowestFree(t); now != next {
			t.Errorf("%s: a descriptor stays open: %d was free, now %d is", what, next, now)
		}
	}
	a.Close()
	if _, err := ReceiveFile(b); err == nil {
		t.Error("received a file at the end of the connection")
	}
}

// lowestFree returns the lowest descriptor that is not in use.
func lowestFree(t *testing.T) int {
	t.Helper()
	fd, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	return fd
}

func TestKindsOfErrors(t *testing.T) {
	for _, c := range []struct {
		err              error
		noSpace, symlink bool
	}{
		{unix.ENOSPC, true, false}, {&os.PathError{Err: unix.EDQUOT}, true, false}, {unix.ELOOP, false, true},
		{unix.EACCES, false, false}, {nil, false, false},
	} {
		if IsNoSpace(c.err) != c.noSpace || IsSymlink(c.err) != c.symlink {
			t.Errorf("%v: no space %t, symlink %t", c.err, IsNoSpace(c.err), IsSymlink(c.err))
		}
	}
}
