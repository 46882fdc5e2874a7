//go:build linux || darwin

package sys

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func wantLock(t *testing.T, what string, f *os.File, off int64, want bool) {
	t.Helper()
	if got, err := TryLock(f, off); err != nil || got != want {
		t.Errorf("%s: locked %t, %v", what, got, err)
	}
}

func wantLocked(t *testing.T, what string, f *os.File, off, n int64, want bool) {
	t.Helper()
	if got, err := Locked(f, off, n); err != nil || got != want {
		t.Errorf("%s: is locked %t, %v", what, got, err)
	}
}

// TestLocks: one description excludes another, byte by byte, and not itself.
func TestLocks(t *testing.T) {
	const off = 1<<62 + 5 // far behind the end
	dir := openedDir(t)
	a := created(t, dir, "f")
	b, err := OpenAt(dir, "f")
	if err != nil {
		t.Fatal(err)
	}
	wantLocked(t, "nobody", b, off, 1, false)
	wantLock(t, "first", a, off, true)
	wantLock(t, "first, again", a, off, true)
	wantLock(t, "second", b, off, false)
	wantLock(t, "second, next byte", b, off+1, true)
	wantLocked(t, "seen by the second", b, off, 1, true)
	wantLocked(t, "seen by the first, its own", a, off, 1, false)
	wantLocked(t, "range with it", b, off-4, 5, true)
	wantLocked(t, "range in front", b, off-4, 4, false)
	wantLocked(t, "range behind", b, off+1, 100, false)
	wantLocked(t, "seen by the first", a, off, 2, true)

	if err := Unlock(a, off); err != nil {
		t.Fatal(err)
	}
	wantLock(t, "second, after the first", b, off, true)
	wantLock(t, "first, after the second", a, off, false)
	b.Close()
	wantLock(t, "first, after the second was closed", a, off, true)
	a.Close()
	if _, err := TryLock(a, off); err == nil {
		t.Error("locked a closed file")
	}
	if _, err := Locked(a, off, 1); err == nil {
		t.Error("queried a closed file")
	}
}

// TestLockLivesWithTheDescription: it goes with the last descriptor, and not, as an ordinary lock
// would, with any that the process closes.
func TestLockLivesWithTheDescription(t *testing.T) {
	dir := openedDir(t)
	a := created(t, dir, "f")
	fd, err := unix.Dup(int(a.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	twin := os.NewFile(uintptr(fd), "twin")
	wantLock(t, "first", a, 0, true)
	for range 2 {
		other, err := OpenAt(dir, "f")
		if err != nil {
			t.Fatal(err)
		}
		wantLocked(t, "another description", other, 0, 1, true)
		other.Close()
	}
	a.Close()
	wantLock(t, "its twin", twin, 0, true)
	other, err := OpenAt(dir, "f")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	wantLock(t, "while the twin is open", other, 0, false)
	twin.Close()
	wantLock(t, "after the twin was closed", other, 0, true)
}

// TestSharedLock: those who read share a lock, which excludes who writes and is excluded by it, and which is no lock for
// who asks whether somebody has one.
func TestSharedLock(t *testing.T) {
	dir := openedDir(t)
	writer := created(t, dir, "f")
	var readers [2]*os.File
	for i := range readers {
		f, err := OpenAtReadOnly(dir, "f")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		readers[i] = f
		if got, err := TryLockShared(f, 7); err != nil || !got {
			t.Errorf("reader %d: locked %t, %v", i, got, err)
		}
	}
	wantLock(t, "writer beside readers", writer, 7, false)
	wantLocked(t, "readers, seen by the writer", writer, 7, 1, false)
	for _, f := range readers {
		if err := Unlock(f, 7); err != nil {
			t.Error(err)
		}
	}
	wantLock(t, "writer behind readers", writer, 7, true)
	wantLocked(t, "the writer, seen by a reader", readers[0], 7, 1, true)
	if got, err := TryLockShared(readers[0], 7); err != nil || got {
		t.Errorf("reader beside a writer: locked %t, %v", got, err)
	}
}

// TestLockOfAReadOnlyFile: a write lock needs a file that may be written.
func TestLockOfAReadOnlyFile(t *testing.T) {
	dir := openedDir(t)
	created(t, dir, "f")
	f, err := os.Open(dir.Name() + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := TryLock(f, 0); err == nil {
		t.Errorf("locked %t", got)
	}
}
