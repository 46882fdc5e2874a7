package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/kmod/arena"
	"github.com/shmheap/shmheap/queue"
)

const heapName = "kernel"

func options(dir string) *heap.Options {
	return &heap.Options{Dir: filepath.Join(dir, "heaps"), Size: 64 << 20, Kernel: arena.New(nil)}
}

// lab is a heap in an arena, with news that are passed on.
type lab struct {
	heap  *heap.Heap
	alloc *alloc.Allocator
	news  *arena.News
	dir   string
}

func newLab(t testing.TB) *lab {
	t.Helper()
	dir := t.TempDir()
	return newLabWith(t, dir, options(dir))
}

// newLabWith makes a lab of which processes of others may know the directory.
func newLabWith(t testing.TB, dir string, o *heap.Options) *lab {
	t.Helper()
	needArena(t)
	h, err := heap.Create(heapName, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(h.Check().Err(), h.Close(), heap.Remove(heapName, o)); err != nil {
			t.Error(err)
		}
	})
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{heap: h, alloc: a, dir: dir}
	if l.news, err = arena.NewNews(h); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.news.Run(ctx, nil) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := l.news.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// start runs a program of this package in a process of its own.
func (l *lab) start(t testing.TB, program string, args ...any) *shmtest.Process {
	t.Helper()
	words := []string{l.dir}
	for _, a := range args {
		words = append(words, fmt.Sprint(a))
	}
	return shmtest.Start(t, program, words...)
}

// attach opens the heap of the test in a program.
func attach() (*alloc.Allocator, error) {
	h, err := heap.Open(heapName, options(os.Args[1]))
	if err != nil {
		return nil, err
	}
	return alloc.Open(h)
}

func argument(i int) uint64 {
	n, err := strconv.ParseUint(os.Args[1+i], 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func mustQueue(t testing.TB, a *alloc.Allocator, name string, o *queue.Options) *queue.Queue {
	t.Helper()
	q, err := queue.Open(a, name, o)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// mustNew allocates a T and returns its offset too.
func mustNew[T any](t testing.TB, a *alloc.Allocator) (*T, uint64) {
	t.Helper()
	p, err := alloc.New[T](a)
	if err != nil {
		t.Fatal(err)
	}
	return p, offsetOf(a, p)
}

func offsetOf[T any](a *alloc.Allocator, p *T) uint64 {
	off, _ := mem.OffsetOf(a.Heap().Memory(), p)
	return off
}

// kills is how often a test kills: few, or as many as the variable says.
func kills(t testing.TB, few int) int {
	text, ok := os.LookupEnv("SHMHEAP_KILLS")
	if !ok {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func median(times []time.Duration) time.Duration { return times[len(times)/2] }
