package heap

import (
	"errors"
	"strings"
	"testing"
)

// TestAlone: who is alone keeps others from attaching until it ends that, or dies.
func TestAlone(t *testing.T) {
	o := newOptions(t)
	h := mustCreate(t, "a", o)
	p := openPeer(t, "a", o)
	if _, err := h.Alone(); !errors.Is(err, ErrNotAlone) || !strings.Contains(err.Error(), "pid") {
		t.Fatalf("with a peer attached: %v", err)
	}
	p.mustDo(t, "close")
	release, err := h.Alone()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Alone(); !errors.Is(err, ErrBusy) {
		t.Errorf("alone twice: %v", err)
	}
	if answer := p.do("open", "a"); answer != "ErrBusy" {
		t.Errorf("attaching to a heap that another has to itself: %s", answer)
	}
	if err := Remove("a", o); !errors.Is(err, ErrInUse) {
		t.Errorf("removing it: %v", err)
	}
	wantAlive(t, "self", h, h.Peer(), true)
	release()
	release()
	p.mustDo(t, "open", "a")
	if _, err := h.Alone(); !errors.Is(err, ErrNotAlone) {
		t.Errorf("after release: %v", err)
	}
	wantAlive(t, "other", h, MakePeerID(1, 2), true)
	p.Kill()
	release, err = h.Alone()
	if err != nil {
		t.Fatalf("after the other was killed: %v", err)
	}
	release()
}
