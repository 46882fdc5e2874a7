package heap

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/sys"
)

// TestOpenMeetsRemove: who opens a heap while it is being removed gets ErrNotExist, and not a heap
// without a name that nobody else can open.
func TestOpenMeetsRemove(t *testing.T) {
	o := &Options{Dir: filepath.Join(t.TempDir(), "heaps"), Size: layout.MinSize}
	h, err := Create("x", o)
	if err != nil {
		t.Fatal(err)
	}
	path := h.Path()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	remover, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer remover.Close()
	if free, err := sys.TryLockRange(remover, lockPeers, layout.MaxPeers); !free || err != nil {
		t.Fatalf("all slots: %v, %v", free, err)
	}
	opened := make(chan error)
	go func() {
		h, err := Open("x", o)
		if err == nil {
			h.Close()
		}
		opened <- err
	}()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; !errors.Is(err, ErrNotExist) {
		t.Errorf("Open says %v", err)
	}
}

// TestRemoveTakesOnlyWhatItLookedAt: a name that leads to another heap by now is left alone.
func TestRemoveTakesOnlyWhatItLookedAt(t *testing.T) {
	o := &Options{Dir: filepath.Join(t.TempDir(), "heaps"), Size: layout.MinSize}
	old, err := Create("x", o)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := Remove("x", &Options{Dir: o.Dir, Force: true}); err != nil {
		t.Fatal(err)
	}
	at, err := locate("x", o)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := at.openDir(false)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := at.stillLeadsTo(dir, old.file); !errors.Is(err, ErrNotExist) {
		t.Errorf("without a file of that name: %v", err)
	}
	anew, err := Create("x", o)
	if err != nil {
		t.Fatal(err)
	}
	defer anew.Close()
	if err := at.stillLeadsTo(dir, old.file); !errors.Is(err, ErrInUse) {
		t.Errorf("with another file of that name: %v", err)
	}
	if err := at.stillLeadsTo(dir, anew.file); err != nil {
		t.Errorf("with the file itself: %v", err)
	}
}
