//go:build linux || darwin

package queue

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// connect returns two ends of a unix socket.
func connect(t *testing.T) (one, two *net.UnixConn) {
	t.Helper()
	addr := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"}
	l, err := net.ListenUnix("unix", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if one, err = net.DialUnix("unix", nil, addr); err != nil {
		t.Fatal(err)
	}
	if two, err = l.AcceptUnix(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { one.Close(); two.Close() })
	return one, two
}

// TestWatch: a consumer that waits in Go's poller misses nothing, and is not told what it has not asked
// for.
func TestWatch(t *testing.T) {
	eachKind(t, func(t *testing.T, k Kind) {
		m := newGoRegion(t, testSize).join()
		q := m.queue(t, &Options{Kind: k, Capacity: 4})
		p, c := mustProducer(t, q), mustConsumer(t, q)
		w, err := c.Watch()
		if err != nil {
			t.Fatal(err)
		}
		here, there := connect(t)
		if err := SendFile(here, w.NotifyFile()); err != nil {
			t.Fatal(err)
		}
		f, err := ReceiveFile(there)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Notify(f); err != nil {
			t.Fatal(err)
		}
		const elements = 2000
		var pushing sync.WaitGroup
		pushing.Go(func() {
			for n := range elements {
				if err := p.Push(t.Context(), q.element(n)); err != nil {
					t.Error(err)
				}
			}
		})
		for n := 0; n < elements; {
			ready, err := w.Arm()
			if err == nil && !ready {
				err = w.Wait()
			}
			if err != nil {
				t.Fatal(err)
			}
			for {
				v, err := c.TryPop()
				if errors.Is(err, ErrEmpty) {
					break
				}
				if err != nil || q.number(v) != n {
					t.Fatalf("element %d is %d, %v", n, q.number(v), err)
				}
				n++
			}
		}
		pushing.Wait()
		wantErr(t, "clear", w.Clear(), nil)
		if err := w.File().SetReadDeadline(time.Now().Add(5 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		wantErr(t, "wait", w.Wait(), os.ErrDeadlineExceeded)
		q.head.Watch.Swap(0)
		wantErr(t, "push", p.Push(t.Context(), q.element(1)), nil)
		wantErr(t, "wait for what was not asked for", w.Wait(), os.ErrDeadlineExceeded)
		if ready, err := w.Arm(); !ready || err != nil {
			t.Errorf("arm: %t, %v", ready, err)
		}
		if err := errors.Join(w.Close(), p.Close()); err != nil {
			t.Error(err)
		}
	})
}

// TestWatchOfTheEnd: a watcher learns that the queue was closed when a producer closes its handle.
func TestWatchOfTheEnd(t *testing.T) {
	m := newGoRegion(t, testSize).join()
	q := m.queue(t, &Options{Kind: MPSC, Capacity: 4})
	p, c := mustProducer(t, q), mustConsumer(t, q)
	w, err := c.Watch()
	if err != nil {
		t.Fatal(err)
	}
	here, there := connect(t)
	wantErr(t, "send", SendFile(here, w.NotifyFile()), nil)
	f, err := ReceiveFile(there)
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "notify", p.Notify(f), nil)
	if ready, err := w.Arm(); ready || err != nil {
		t.Fatalf("arm: %t, %v", ready, err)
	}
	q.Close()
	wantErr(t, "close", p.Close(), nil)
	wantErr(t, "deadline", w.File().SetReadDeadline(time.Now().Add(time.Minute)), nil)
	wantErr(t, "wait", w.Wait(), nil)
	if ready, err := w.Arm(); !ready || err != nil {
		t.Errorf("arm: %t, %v", ready, err)
	}
	_, err = c.TryPop()
	wantErr(t, "pop", err, ErrClosed)
	wantErr(t, "close", w.Close(), nil)
}
