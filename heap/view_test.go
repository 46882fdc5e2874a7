package heap

import (
	"errors"
	"os"
	"testing"

	"github.com/shmheap/shmheap/internal/sys"
)

// TestLook: a view shows what peers do and the dead they leave, and is nobody itself.
func TestLook(t *testing.T) {
	o := newOptions(t)
	h := mustCreate(t, "a", o)
	v := mustLook(t, "a", o)
	if v.Name() != "a" || v.Base() != h.Base() || v.Size() != h.Size() || v.Path() != h.Path() || v.Peer() != 0 ||
		v.Geometry() != h.Geometry() || v.Committed() != h.Committed() || !v.IsCommitted(0) || v.IsCommitted(v.Size()) {
		t.Errorf("view of %q at %#x, %d bytes, %s", v.Name(), v.Base(), v.Size(), v.Path())
	}
	if uint64(v.Memory().Base()) == h.Base() {
		t.Error("a view that lies where the heap is")
	}
	if err := h.StoreRoot(Root{Name: "r", Offset: data(h, 3), Type: 7, TypeName: "kind"}); err != nil {
		t.Fatal(err)
	}
	roots, err := v.Roots()
	if err != nil || len(roots) != 1 || roots[0] != (Root{Name: "r", Offset: data(h, 3), Type: 7, TypeName: "kind"}) {
		t.Errorf("roots %+v, %v", roots, err)
	}
	p := openPeer(t, "a", o)
	id := p.id(t)
	if info, err := v.Info(); err != nil || info.Peers != 2 {
		t.Errorf("%+v, %v, want two peers", info, err)
	}
	p.Kill()
	peers, err := v.Peers()
	if err != nil || len(peers) != 2 || !peers[0].Alive || peers[1].Alive || peers[1].ID != id {
		t.Errorf("%+v, %v, want the dead peer %v", peers, err, id)
	}
	if alive, err := v.Alive(id); alive || err != nil {
		t.Errorf("dead peer: %v, %v", alive, err)
	}
}

// TestLookChangesNothing: not a byte of the file, and not its storage.
func TestLookChangesNothing(t *testing.T) {
	o := newOptions(t)
	h := mustCreate(t, "a", o)
	before, allocated := contents(t, h)
	v := mustLook(t, "a", o)
	_, err1 := v.Peers()
	_, err2 := v.Roots()
	_, err3 := v.Info()
	after, now := contents(t, h)
	if err := errors.Join(err1, err2, err3); err != nil || before != after || allocated != now {
		t.Errorf("%v; the file has changed: %v, storage from %d to %d", err, before != after, allocated, now)
	}
}

func contents(t *testing.T, h *Heap) (string, int64) {
	t.Helper()
	b, err := os.ReadFile(h.Path())
	if err != nil {
		t.Fatal(err)
	}
	st, err := sys.Stat(h.file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), st.Allocated
}

func TestLookErrors(t *testing.T) {
	o := newOptions(t)
	_, err := Look("none", o)
	wantError(t, "no heap", err, ErrNotExist)
	h := mustCreate(t, "a", o)
	v := mustLook(t, "a", o)
	if err := v.Cut(); err != nil {
		t.Errorf("a heap that is there: %v", err)
	}
	o.Force = true
	if err := Remove("a", o); err != nil {
		t.Fatal(err)
	}
	wantError(t, "removed", v.Cut(), ErrNotExist)
	damages(t)
	if err := os.Truncate(h.file.Name(), 0); err == nil {
		t.Fatal("the file had a name still")
	}
	if err := h.file.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	wantError(t, "cut", v.Cut(), ErrCorrupt)
	if err := h.file.Truncate(int64(h.Size())); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	wantError(t, "second Close", v.Close(), ErrClosed)
	wantError(t, "Cut after Close", v.Cut(), ErrClosed)
	_, err = v.Peers()
	wantError(t, "Peers after Close", err, ErrClosed)
}

func mustLook(t testing.TB, name string, o *Options) *View {
	t.Helper()
	v, err := Look(name, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return v
}
