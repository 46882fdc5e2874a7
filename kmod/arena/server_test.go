package arena_test

import (
	"context"
	"errors"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/kmod/arena"
	"github.com/shmheap/shmheap/queue"
)

func mustAlloc(t testing.TB, name string) *alloc.Allocator {
	t.Helper()
	a, err := alloc.Open(mustCreate(t, name, newOptions(t)))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func mustQueue(t testing.TB, a *alloc.Allocator, name string, o *queue.Options) *queue.Queue {
	t.Helper()
	q, err := queue.Open(a, name, o)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// TestServer: commands with raw pointers go to the kernel and come back.
func TestServer(t *testing.T) {
	a := mustAlloc(t, "a")
	commands := mustQueue(t, a, "commands", &queue.Options{Capacity: 16})
	replies := mustQueue(t, a, "replies", &queue.Options{Capacity: 16})
	n, err := arena.NewNews(a.Heap())
	if err != nil {
		t.Fatal(err)
	}
	s, err := arena.NewServer(a.Heap(), commands, replies, n)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := commands.Producer()
	if err != nil {
		t.Fatal(err)
	}
	in, err := replies.Consumer()
	if err != nil {
		t.Fatal(err)
	}
	c, err := alloc.New[arena.Command](a)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := mem.OffsetOf(a.Heap().Memory(), c)
	for i := range uint64(1000) {
		c.Verb, c.Argument = arena.VerbEcho, i
		if err := out.TryPush(at); err != nil {
			t.Fatal(err)
		}
		served, lost, err := s.Serve(10)
		if served != 1 || lost != 0 || err != nil {
			t.Fatal(i, served, lost, err)
		}
		got, err := in.TryPop()
		if got != at || err != nil || c.Result != i+1 {
			t.Fatalf("%#x %v %d", got, err, c.Result)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- n.Run(ctx, nil) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
