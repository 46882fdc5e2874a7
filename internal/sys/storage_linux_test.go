package sys

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

const piece = 64 << 10

// TestAllocateAndPunch on whatever file system the tests use.
func TestAllocateAndPunch(t *testing.T) {
	f := created(t, openedDir(t), "f")
	if err := f.Truncate(16 * piece); err != nil {
		t.Fatal(err)
	}
	mustAllocate(t, f, 0, 8*piece)
	full := mustStat(t, f).Allocated
	if full < 8*piece {
		t.Errorf("%d bytes allocated, want %d", full, 8*piece)
	}
	data := bytes.Repeat([]byte{1}, 2*piece)
	if _, err := f.WriteAt(data, 3*piece); err != nil {
		t.Fatal(err)
	}
	mustAllocate(t, f, 0, 16*piece)
	got := make([]byte, 2*piece)
	if _, err := f.ReadAt(got, 3*piece); err != nil || !bytes.Equal(got, data) {
		t.Errorf("allocating changed what was there, %v", err)
	}
	full = mustStat(t, f).Allocated
	if err := PunchHole(f, 4*piece, 8*piece); err != nil {
		t.Fatal(err)
	}
	st := mustStat(t, f)
	if st.Allocated > full-8*piece || st.Size != 16*piece {
		t.Errorf("after punching: %+v, were %d bytes", st, full)
	}
	clear(data[piece:])
	if _, err := f.ReadAt(got, 3*piece); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the hole is not zero, or it is too large, %v", err)
	}
}

func mustAllocate(t *testing.T, f *os.File, off, n int64) {
	t.Helper()
	if err := Allocate(f, off, n); err != nil {
		t.Fatal(err)
	}
}

// mounted mounts a file system and returns an open file on it.
func mounted(t *testing.T, kind, options string) *os.File {
	t.Helper()
	if os.Geteuid() != 0 {
		shmtest.Skip(t, "mounting needs root", "run the tests as root")
	}
	point := t.TempDir()
	if out, err := exec.Command("mount", "-t", kind, "-o", options, "none", point).CombinedOutput(); err != nil {
		shmtest.Skip(t, "mount "+kind+": "+string(out), "run the tests where file systems can be mounted")
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", point).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %s", point, out)
		}
	})
	dir, err := OpenDir(point)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	return created(t, dir, "f")
}

func TestAllocateOnFullFileSystem(t *testing.T) {
	f := mounted(t, "tmpfs", "size=1m")
	if err := Allocate(f, 0, 2<<20); !IsNoSpace(err) {
		t.Errorf("error %v", err)
	}
	mustAllocate(t, f, 0, 1<<20)
	mustAllocate(t, f, 0, 1<<20) // what is there already needs no room
	if err := Allocate(f, 1<<20, piece); !IsNoSpace(err) {
		t.Errorf("error %v", err)
	}
}

// TestAllocateWhereItCannot: ramfs has no fallocate.
func TestAllocateWhereItCannot(t *testing.T) {
	f := mounted(t, "ramfs", "mode=0700")
	wantError(t, "allocate", Allocate(f, 0, piece), errors.ErrUnsupported)
}

func TestAnonymous(t *testing.T) {
	f, err := Anonymous("name", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	wantCloseOnExec(t, "anonymous", f)
	if st := mustStat(t, f); st.Size != 1<<20 || !st.Regular || st.Mode != 0o600 || st.UID != os.Geteuid() || st.Links != 0 {
		t.Errorf("%+v", st)
	}
	for _, n := range []int64{0, 1<<20 - 1, 1<<20 + 1} {
		wantError(t, "change the size", f.Truncate(n), fs.ErrPermission)
	}
	mustAllocate(t, f, 0, piece)
	if err := PunchHole(f, 0, piece); err != nil {
		t.Error(err)
	}
}

// TestReopen: another description of the same file, that can be written, whether or not the file has a
// name and the first descriptor could be.
func TestReopen(t *testing.T) {
	anonymous, err := Anonymous("name", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer anonymous.Close()
	dir := openedDir(t)
	named := created(t, dir, "f")
	if err := UnlinkAt(dir, "f"); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*os.File{anonymous, named} {
		again, err := Reopen(f)
		if err != nil {
			t.Fatal(err)
		}
		wantCloseOnExec(t, "reopened", again)
		if !mustStat(t, again).Same(mustStat(t, f)) || again.Name() != f.Name() {
			t.Errorf("%s became %s", f.Name(), again.Name())
		}
		wantLock(t, "first", f, 0, true)
		wantLock(t, "reopened", again, 0, false)
		if _, err := again.WriteAt([]byte("x"), 0); err != nil {
			t.Error(err)
		}
		again.Close()
		wantLock(t, "first, after the other was closed", f, 0, true)
		f.Close()
		if _, err := Reopen(f); err == nil {
			t.Error("reopened a closed file")
		}
	}
}
