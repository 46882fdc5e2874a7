package heap

import (
	"sync/atomic"
	"testing"
	"time"
)

// TestStay: Close wakes who stays, and takes nothing away before he has left.
func TestStay(t *testing.T) {
	h := mustCreate(t, "a", newOptions(t))
	woken, left := make(chan struct{}), atomic.Bool{}
	s := Stay{Wake: func() { close(woken) }}
	if err := h.Stay(&s); err != nil || s.Over() {
		t.Fatalf("over at once, or %v", err)
	}
	short := Stay{Wake: func() { t.Error("who has left is woken") }}
	if err := h.Stay(&short); err != nil {
		t.Fatal(err)
	}
	short.Leave()
	short.Leave()
	if _, err := h.OnClose(func() error {
		if !left.Load() {
			t.Error("hooks run while somebody stays")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	go func() {
		<-woken
		if !s.Over() {
			t.Error("woken, and it is not over")
		}
		wantError(t, "another stay", h.Stay(&short), ErrClosed)
		time.Sleep(10 * time.Millisecond) // time for a Close that does not wait
		if h.memory.Word(0).Load(); h.Committed() == 0 {
			t.Error("the mapping is gone")
		}
		left.Store(true)
		s.Leave()
	}()
	if err := h.Close(); err != nil || !left.Load() {
		t.Errorf("Close did not wait, or %v", err)
	}
	wantError(t, "a stay in a closed heap", h.Stay(&short), ErrClosed)
}

// TestStayNowhere: memory that nobody takes away is never over.
func TestStayNowhere(t *testing.T) {
	var s Stay
	if s.Over() {
		t.Error("it is over")
	}
	s.Leave()
}
