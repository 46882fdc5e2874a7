package queue_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/queue"
)

// must returns v.
func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// everything is a handle of each kind, all of which would wait.
type everything struct {
	heap     *heap.Heap
	in       *queue.Consumer
	out      *queue.Producer
	hand     *queue.Hand
	port     *queue.Port
	writer   *queue.Writer
	reader   *queue.Reader
	client   *queue.Client
	server   *queue.Server
	asker    *queue.Asker
	answerer *queue.Answerer
}

func newEverything(t *testing.T, dir string) *everything {
	t.Helper()
	h := must[*heap.Heap](t)(heap.Create("test", &heap.Options{Dir: dir, Size: 16 << 20}))
	a := must[*alloc.Allocator](t)(alloc.Open(h))
	open := func(name string, o *queue.Options) *queue.Queue {
		return must[*queue.Queue](t)(queue.Open(a, name, o))
	}
	hands := must[*queue.Hands](t)(queue.OpenHands(a, "hands", 4))
	full := open("full", &queue.Options{Kind: queue.SPSC, Capacity: 2})
	ring := must[*queue.Broadcast](t)(queue.OpenBroadcast(a, "ring", &queue.BroadcastOptions{}))
	box := must[*queue.Mailbox](t)(queue.OpenMailbox(a, "box"))
	handed := &queue.Options{Hands: hands}
	e := &everything{
		heap: h, in: must[*queue.Consumer](t)(open("empty", &queue.Options{Kind: queue.SPSC}).Consumer()),
		out: must[*queue.Producer](t)(full.Producer()), hand: must[*queue.Hand](t)(hands.Hand()),
		writer: must[*queue.Writer](t)(ring.Writer()), reader: ring.Reader(),
		client: must[*queue.Client](t)(box.Client()), server: must[*queue.Server](t)(box.Server()),
	}
	for range 2 {
		if err := e.out.TryPush(h.Geometry().Sections.Data); err != nil {
			t.Fatal(err)
		}
	}
	commands := open("commands", handed)
	e.port = must[*queue.Port](t)(e.hand.Port(commands))
	e.asker = must[*queue.Asker](t)(queue.NewAsker(must[*queue.Hand](t)(hands.Hand()), commands, open("replies", handed)))
	e.answerer = must[*queue.Answerer](t)(queue.NewAnswerer(must[*queue.Hand](t)(hands.Hand()), open("requests", handed)))
	return e
}

// waits are the calls that wait, each with a handle of its own.
func (e *everything) waits() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Pop":     func(ctx context.Context) error { _, err := e.in.Pop(ctx); return err },
		"Push":    func(ctx context.Context) error { return e.out.Push(ctx, e.heap.Geometry().Sections.Data) },
		"Receive": func(ctx context.Context) error { _, err := e.port.Receive(ctx); return err },
		"Read":    func(ctx context.Context) error { _, err := e.reader.Read(ctx, make([]uint64, 1)); return err },
		"Next":    func(ctx context.Context) error { return e.server.Next(ctx, make([]uint64, 1)) },
		"Reply":   func(ctx context.Context) error { _, _, err := e.asker.Reply(ctx); return err },
		"Request": func(ctx context.Context) error { _, err := e.answerer.Next(ctx); return err },
	}
}

// tries are the other calls.
func (e *everything) tries() map[string]func() error {
	return map[string]func() error{
		"TryPush":    func() error { return e.out.TryPush(4096) },
		"TryPushAll": func() error { _, err := e.out.TryPushAll(make([]uint64, 64)); return err },
		"TryPop":     func() error { _, err := e.in.TryPop(); return err },
		"TryPopAll":  func() error { _, err := e.in.TryPopAll(make([]uint64, 64)); return err },
		"Make":       func() error { _, err := e.hand.Make(8); return err },
		"Free":       e.hand.Free,
		"Put":        func() error { return e.hand.Put(4096) },
		"TrySend":    e.port.TrySend,
		"TryReceive": func() error { _, err := e.port.TryReceive(); return err },
		"Write":      func() error { return e.writer.Write(1, 2, 3, 4, 5, 6, 7) },
		"Write 1":    func() error { return e.writer.Write(1) },
		"TryRead":    func() error { _, err := e.reader.TryRead(make([]uint64, 1)); return err },
		"Call":       func() error { return e.client.Call(context.Background(), nil) },
		"Reply":      func() error { return e.server.Reply(nil) },
		"Ask":        func() error { _, err := e.asker.Ask(context.Background()); return err },
		"Answer":     func() error { return e.answerer.Answer(context.Background()) },

		"Producer.Close": e.out.Close, "Consumer.Close": e.in.Close, "Hand.Close": e.hand.Close, "Writer.Close": e.writer.Close,
		"Client.Close": e.client.Close, "Server.Close": e.server.Close,
	}
}

// TestHeapClosedInWaits: whoever waits when the heap is closed returns, whether it has begun to sleep or not, and closes its
// handle while Close goes on.
func TestHeapClosedInWaits(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "heaps")
	for round := range 12 {
		e := newEverything(t, dir)
		var all sync.WaitGroup
		for name, wait := range e.waits() {
			ctx := shmtest.NewBegun(t.Context())
			all.Go(func() {
				if err := wait(ctx); !errors.Is(err, queue.ErrDetached) {
					t.Errorf("%s when the heap was closed: %v", name, err)
				}
				if name == "Pop" {
					_ = e.in.Close()
				}
			})
			<-ctx.Told
		}
		time.Sleep(time.Duration(round) * 100 * time.Microsecond)
		if err := e.heap.Close(); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		if err := heap.Remove("test", &heap.Options{Dir: dir}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUseAfterHeapClose: handles of a heap that is closed say so.
func TestUseAfterHeapClose(t *testing.T) {
	e := newEverything(t, filepath.Join(t.TempDir(), "heaps"))
	if _, err := e.hand.Make(8); err != nil {
		t.Fatal(err)
	}
	if err := e.heap.Close(); err != nil {
		t.Fatalf("close with a block in a hand: %v", err)
	}
	for name, wait := range e.waits() {
		if err := wait(t.Context()); !errors.Is(err, queue.ErrDetached) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, try := range e.tries() {
		if err := try(); !errors.Is(err, queue.ErrDetached) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if held, pending := e.hand.Held(), e.reader.Pending(); held != 0 || pending != 0 {
		t.Errorf("held %#x, pending %d", held, pending)
	}
	if err := errors.Join(e.port.Close(), e.asker.Close(), e.answerer.Close()); err != nil && !errors.Is(err, queue.ErrDetached) {
		t.Error(err)
	}
}

// TestHeapCloseClosesHandles: a process that closes its heap has not died with its handles.
func TestHeapCloseClosesHandles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "heaps")
	e := newEverything(t, dir)
	if _, err := e.hand.Make(8); err != nil {
		t.Fatal(err)
	}
	if err := e.heap.Close(); err != nil {
		t.Fatal(err)
	}
	h := must[*heap.Heap](t)(heap.Open("test", &heap.Options{Dir: dir}))
	defer h.Close()
	a := must[*alloc.Allocator](t)(alloc.Open(h))
	for _, name := range []string{"empty", "full", "commands"} {
		q := must[*queue.Queue](t)(queue.Open(a, name, nil))
		if i := q.Info(); i.Producers+i.Consumers != 0 {
			t.Errorf("%s: %d producers and %d consumers are left", name, i.Producers, i.Consumers)
		}
	}
	in := must[*queue.Consumer](t)(must[*queue.Queue](t)(queue.Open(a, "empty", nil)).Consumer())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := in.Pop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody has died: %v", err)
	}
	hands := must[*queue.Hands](t)(queue.OpenHands(a, "hands", 4))
	if n, err := hands.Recover(); err != nil || n.Freed != 1 {
		t.Errorf("of one hand that held a block: %+v, %v", n, err)
	}
}
