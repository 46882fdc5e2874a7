package heap

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// TestNoDirectory: who opens a heap where it is missing and then creates it is not told again that it is missing.
func TestNoDirectory(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for _, o := range []*Options{{Path: filepath.Join(missing, "a.heap")}, {Dir: filepath.Join(missing, "heaps")}} {
		_, err := Create("a", o)
		wantError(t, "create", err, ErrNoDirectory)
		if classify(err) != "other: "+err.Error() {
			t.Errorf("create: %v is %s, too", err, classify(err))
		}
	}
	_, err := Join(context.Background(), "a", &JoinOptions{Dir: filepath.Join(missing, "heaps")})
	wantError(t, "join", err, ErrNoDirectory)
	_, err = Open("a", &Options{Dir: filepath.Join(missing, "heaps")})
	wantError(t, "open", err, ErrNotExist)
}

// TestGroupOfNobody: a heap that the members of its group could not reach is not made.
func TestGroupOfNobody(t *testing.T) {
	_, err := Create("a", &Options{Dir: filepath.Join(t.TempDir(), "heaps"), GroupReads: true})
	wantError(t, "create for the members of no group", err, ErrGroup)
	dir := filepath.Join(t.TempDir(), "heaps")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	o := &Options{Dir: dir, Size: testSize, Group: strconv.Itoa(os.Getegid())}
	_, err = Create("a", o)
	wantError(t, "create in a directory that members cannot enter", err, ErrGroup)
	if err := errors.Join(os.Chown(dir, -1, os.Getegid()), os.Chmod(dir, 0o770)); err != nil {
		t.Fatal(err)
	}
	h, err := Create("a", o)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
