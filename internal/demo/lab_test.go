package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

// lab is an index in a heap of its own, on which workers with made-up
// identities work in one process.
type lab struct {
	t      *testing.T
	heap   *heap.Heap
	alloc  *alloc.Allocator
	corpus *corpus
	view   *view

	mu   sync.Mutex
	dead map[heap.PeerID]bool
}

func newLab(t *testing.T, folder string, hands int) *lab {
	t.Helper()
	c, err := listCorpus(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	h, err := heap.Create("lab", &heap.Options{Dir: heapDir(t), Size: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(t, h) })
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(t, a) })
	v, err := create(a, c, hands)
	if err != nil {
		t.Fatal(err)
	}
	return &lab{t: t, heap: h, alloc: a, corpus: c, view: v, dead: map[heap.PeerID]bool{}}
}

// heapDir returns a private directory for heaps.
func heapDir(t *testing.T) string {
	return filepath.Join(t.TempDir(), "heaps") // made by heap.Create, with its mode
}

func closeAll(t *testing.T, closers ...interface{ Close() error }) {
	for _, c := range closers {
		if err := c.Close(); err != nil && !errors.Is(err, heap.ErrClosed) {
			t.Error(err)
		}
	}
}

func (l *lab) alive(id heap.PeerID) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.dead[id], nil
}

// worker returns one that has not started. Its cache stays open until the end
// of the test, as that of a killed process would until it is recovered.
func (l *lab) worker(id int, pass func(point)) *worker {
	l.t.Helper()
	c, err := l.alloc.NewCache()
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { closeAll(l.t, c) })
	self := identity{id: heap.PeerID(id), alive: l.alive, recover: l.alloc.Recover}
	return &worker{view: l.view, self: self, cache: c, pass: pass}
}

// crash is the panic that stands for SIGKILL.
type crash struct{ at point }

// run lets a worker work until it is done or crashes, and reports which.
func (l *lab) run(w *worker) (crashed bool, err error) {
	defer func() {
		p := recover()
		if _, crashed = p.(crash); !crashed && p != nil {
			panic(p)
		}
		if crashed {
			l.mu.Lock()
			l.dead[w.self.id] = true
			l.mu.Unlock()
		}
	}()
	return false, w.run(l.t.Context())
}

// verify requires that the index is complete and exact, and that nothing else
// is in the heap.
func (l *lab) verify() Walk {
	l.t.Helper()
	want, err := privateTotals(l.t.Context(), l.corpus)
	if err != nil {
		l.t.Fatal(err)
	}
	walk, err := read(l.t.Context(), l.view)
	if err != nil {
		l.t.Fatal(err)
	}
	if walk.Totals != want {
		l.t.Errorf("shared index: %+v\nprivate index: %+v", walk.Totals, want)
	}
	stats, err := l.alloc.Stats()
	if err != nil {
		l.t.Fatal(err)
	}
	if uint64(stats.Live) != walk.Blocks {
		l.t.Errorf("%d blocks live, %d reachable: %+v", stats.Live, walk.Blocks, walk)
	}
	if walk.Held != 0 {
		l.t.Errorf("%d blocks left in hands", walk.Held)
	}
	if err := l.alloc.Check().Err(); err != nil {
		l.t.Error(err)
	}
	return walk
}

// folder writes n files of random words, and some that are no text.
func folder(t *testing.T, n int, seed uint64) string {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	words := rand.NewZipf(random, 1.2, 4, 2000)
	dir := t.TempDir()
	for i := range n {
		var text strings.Builder
		for range 20 + random.IntN(200) {
			fmt.Fprintf(&text, "%s%s ", letters(words.Uint64()), strings.Repeat("X", random.IntN(3)*7))
		}
		write(t, filepath.Join(dir, fmt.Sprintf("sub%d", i%3), fmt.Sprintf("%03d.txt", i)), text.String())
	}
	write(t, filepath.Join(dir, "binary"), "words\x00before")
	write(t, filepath.Join(dir, "none"), "! ? a b c")
	write(t, filepath.Join(dir, "empty"), "")
	write(t, filepath.Join(dir, ".hidden", "file"), "hidden words")
	write(t, filepath.Join(dir, "large"), strings.Repeat("large ", maxFile/6+1))
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// done returns a context that is over.
func done() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// letters writes a number with letters, so that it is a word.
func letters(n uint64) string {
	return strings.Map(func(r rune) rune { return r - '0' + 'a' }, fmt.Sprintf("%d", n+10))
}
