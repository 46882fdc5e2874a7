package heap

import (
	"os"
	"slices"
	"testing"

	"github.com/shmheap/shmheap/internal/layout"
)

// moved gives a heap that nobody has open another base, and returns the old one.
func moved(t *testing.T, o *Options, by uint64) uint64 {
	t.Helper()
	f, err := OpenOffline("a", o)
	if err != nil {
		t.Fatal(err)
	}
	old := f.Base()
	if err := f.SetBase(old + by); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	return old
}

// TestSetBase: whoever opens the heap afterwards has it at the new base, with all that is in it.
func TestSetBase(t *testing.T) {
	o := newOptions(t)
	h := mustCreate(t, "a", o)
	if err := h.StoreRoot(Root{Name: "r", Offset: data(h, 5)}); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	old := moved(t, o, layout.GranuleSize)
	h = mustOpen(t, "a", o)
	if r, err := h.LoadRoot("r"); h.Base() != old+layout.GranuleSize || err != nil || r.Offset != data(h, 5) {
		t.Errorf("base %#x, %v, %v", h.Base(), r, err)
	}
}

// pages are what one read of a superblock after the other returns. The last stays.
type pages [][]byte

func (p *pages) ReadAt(b []byte, _ int64) (int, error) {
	n := copy(b, (*p)[0])
	*p = (*p)[min(1, len(*p)-1):]
	return n, nil
}

// TestReadWhileBaseIsSet: a read that saw half of a new base is no damage, and damage is reported as such.
func TestReadWhileBaseIsSet(t *testing.T) {
	o := newOptions(t)
	path := closedHeap(t, o)
	read := func() []byte {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return text[:layout.SuperblockSize]
	}
	before := read()
	base := moved(t, o, layout.GranuleSize) + layout.GranuleSize
	after := read()
	torn := slices.Concat(before[:layout.ChecksummedSize/2], after[layout.ChecksummedSize/2:])
	if g, err := readGeometry(&pages{torn, after}); err != nil || g.base != base {
		t.Errorf("base %#x, want %#x: %v", g.base, base, err)
	}
	_, err := readGeometry(&pages{torn})
	wantError(t, "read what stays torn", err, ErrCorrupt)
}

// TestSetBaseRefuses what is no base of a heap.
func TestSetBaseRefuses(t *testing.T) {
	o := newOptions(t)
	closedHeap(t, o)
	f, err := OpenOffline("a", o)
	if err != nil {
		t.Fatal(err)
	}
	for _, base := range []uint64{0, 1, f.Base() + 4096, 1 << 57, ^uint64(0) &^ 0xffff} {
		wantError(t, "set base", f.SetBase(base), ErrSize)
	}
	_, err = Open("a", o)
	wantError(t, "open while it is taken", err, ErrBusy)
	_, err = OpenOffline("a", o)
	wantError(t, "take it twice", err, ErrInUse)
	wantError(t, "remove while it is taken", Remove("a", o), ErrInUse)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	wantError(t, "set base of what is closed", f.SetBase(f.Base()), ErrClosed)
	wantError(t, "close twice", f.Close(), ErrClosed)
}

// TestOfflineIsAlone: a heap that somebody has open is not taken.
func TestOfflineIsAlone(t *testing.T) {
	o := newOptions(t)
	mustCreate(t, "a", o)
	_, err := OpenOffline("a", o)
	wantError(t, "take a heap that is open", err, ErrInUse)
}

// TestRebasedWhileOpening: whoever has read the superblock before the base was changed does not end up at the old one.
func TestRebasedWhileOpening(t *testing.T) {
	o := newOptions(t)
	closedHeap(t, o)
	at, err := locate("a", o)
	if err != nil {
		t.Fatal(err)
	}
	f, err := at.openNamedWith(o.openAt())
	if err != nil {
		t.Fatal(err)
	}
	h := &Heap{file: f, path: at.path()}
	defer h.release()
	if h.geometry, err = readSuperblock(f); err != nil {
		t.Fatal(err)
	}
	moved(t, o, layout.GranuleSize)
	if err := h.reserveBase(); err != nil {
		t.Fatal(err)
	}
	if err := h.mapRegion(); err != nil {
		t.Fatal(err)
	}
	if err := h.attachNamed(); err != nil {
		t.Fatal(err)
	}
	wantError(t, "attach at the old base", h.stillAtBase(), ErrBusy)
	if peers, err := listPeers(h.peers, h.alive); err != nil || len(peers) != 0 {
		t.Errorf("peers %v, %v", peers, err)
	}
}
