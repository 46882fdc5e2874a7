package heap

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// watching is a Watch under way.
type watching struct {
	cancel context.CancelFunc
	gone   chan Departure
	done   chan error
}

func startWatch(t *testing.T, watch func(context.Context, func(Departure)) error) *watching {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watching{cancel, make(chan Departure, 64), make(chan error, 1)}
	go func() { w.done <- watch(ctx, func(d Departure) { w.gone <- d }) }()
	return w
}

// want waits for the departure that comes next.
func (w *watching) want(t *testing.T, id PeerID, died bool) {
	t.Helper()
	select {
	case d := <-w.gone:
		if d.Peer != id || d.Died != died {
			t.Errorf("told %+v, want peer %v, died %t", d, id, died)
		}
	case err := <-w.done:
		t.Fatalf("watch ended: %v", err)
	case <-time.After(shmtest.Patience):
		t.Fatalf("peer %v is gone and nobody told", id)
	}
}

// polled is Watch where the kernel tells nothing.
func (h *Heap) polled(ctx context.Context, gone func(Departure)) error {
	return h.watch(ctx, newWatch(h), gone)
}

// ways are those of noticing a departure.
func ways(h *Heap) map[string]func(context.Context, func(Departure)) error {
	return map[string]func(context.Context, func(Departure)) error{"told": h.Watch, "polled": h.polled}
}

func TestWatch(t *testing.T) {
	o := newOptions(t)
	h := mustCreate(t, "watched", o)
	for name, watch := range ways(h) {
		t.Run(name, func(t *testing.T) {
			before := openPeer(t, "watched", o)
			early, killed, closing, leaving := before.id(t), openPeer(t, "watched", o), openPeer(t, "watched", o), openPeer(t, "watched", o)
			before.Kill()
			w := startWatch(t, watch)
			w.want(t, early, true)
			id := killed.id(t)
			killed.Kill()
			w.want(t, id, true)
			id = closing.id(t)
			closing.mustDo(t, "close")
			w.want(t, id, false)
			late := openPeer(t, "watched", o) // in a slot that was somebody's
			id = late.id(t)
			late.Kill()
			w.want(t, id, true)
			id = leaving.id(t)
			leaving.Tell("exit")
			w.want(t, id, true)
			w.cancel()
			if err := <-w.done; !errors.Is(err, context.Canceled) || len(w.gone) != 0 {
				t.Errorf("%v, and %d more were told", err, len(w.gone))
			}
			if err := h.ReleaseDead(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWatchEndsWithTheHeap: it neither keeps the heap from being closed nor goes on.
func TestWatchEndsWithTheHeap(t *testing.T) {
	h := mustCreate(t, "closed", newOptions(t))
	for _, watch := range ways(h) {
		defer func(w *watching) { wantError(t, "watch", <-w.done, ErrClosed) }(startWatch(t, watch))
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, "watch of a closed heap", h.Watch(t.Context(), func(Departure) {}), ErrClosed)
}

// TestWatchIsTold holds Linux to what Watch's comment says, and reports how long a death goes unnoticed.
func TestWatchIsTold(t *testing.T) {
	if runtime.GOOS != "linux" {
		shmtest.SkipAnywhere(t, "only Linux tells")
	}
	o := newOptions(t)
	h := mustCreate(t, "watched", o)
	w := newWatch(h)
	if err := w.begin(); err != nil || w.closings == nil {
		t.Fatalf("the kernel does not tell: %v", err)
	}
	w.end()
	for name, watch := range ways(h) {
		watching := startWatch(t, watch)
		var killed, gone []time.Duration
		for range 20 {
			p := openPeer(t, "watched", o)
			id := p.id(t)
			begin := time.Now()
			p.Kill() // and wait for its end
			end := time.Now()
			watching.want(t, id, true)
			killed, gone = append(killed, time.Since(begin)), append(gone, time.Since(end))
		}
		t.Logf("note: %s: from the kill to the word of it %v; from the end of the process %v", name, spread(killed), spread(gone))
		watching.cancel()
		<-watching.done
		if err := h.ReleaseDead(); err != nil {
			t.Error(err)
		}
	}
}

func spread(all []time.Duration) string {
	slices.Sort(all)
	return fmt.Sprintf("%v to %v, half within %v", all[0], all[len(all)-1], all[len(all)/2])
}

// BenchmarkWatch is one look at 64 live peers. Polling takes 250 of them in a second, being told 4.
func BenchmarkWatch(b *testing.B) {
	o := newOptions(b)
	o.MaxPeers = 1024
	h := mustCreate(b, "watched", o)
	for range 64 {
		other, err := attachAgain(h)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { other.detach(); other.file.Close() })
	}
	w := newWatch(h)
	for b.Loop() {
		if gone, err := w.look(); err != nil || len(gone) > 0 {
			b.Fatal(gone, err)
		}
	}
}
