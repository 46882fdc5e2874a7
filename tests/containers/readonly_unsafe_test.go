package containers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/lock"
	"github.com/shmheap/shmheap/queue"
)

// words is what locks lie in: memory of the heap that nobody else uses.
type words struct {
	mutex   lock.Mutex
	rw      lock.RWMutex
	once    lock.Once
	permits lock.Semaphore
	barrier lock.Barrier
	cond    lock.Cond
}

// changes are all ways to change a heap, by name.
func changes(b box) map[string]func() error {
	ctx, h, a := context.Background(), b.Heap, b.alloc
	first, _ := alloc.LoadRoot[node](a, "list")
	w, _ := alloc.LoadRoot[words](a, "words")
	block := unsafe.Pointer(first)
	return map[string]func() error{
		"Commit":          func() error { return h.Commit(h.Size()-1<<16, 1<<16) },
		"Decommit":        func() error { return h.Decommit(h.Size()-1<<16, 1<<16) },
		"StoreRoot":       func() error { return h.StoreRoot(heap.Root{Name: "x"}) },
		"LoadOrStoreRoot": func() error { _, _, err := h.LoadOrStoreRoot(heap.Root{Name: "x"}); return err },
		"DeleteRoot":      func() error { return h.DeleteRoot("list") },
		"SetLimit":        func() error { return h.SetLimit(1 << 30) },
		"ReleaseDead":     h.ReleaseDead,
		"Alone":           func() error { _, err := h.Alone(); return err },
		"Alloc":           func() error { _, err := a.Alloc(16); return err },
		"Alloc large":     func() error { _, err := a.Alloc(1 << 20); return err },
		"AllocInto":       func() error { p := unsafe.Pointer(nil); return a.AllocInto(&p, 16) },
		"AllocPrivate":    func() error { _, err := a.AllocPrivate(16); return err },
		"Realloc":         func() error { _, err := a.Realloc(block, 100); return err },
		"Publish":         func() error { return a.Publish(block) },
		"Free":            func() error { return a.Free(block) },
		"FreeFrom":        func() error { p := block; return a.FreeFrom(&p) },
		"NewCache":        func() error { _, err := a.NewCache(); return err },
		"NewArena":        func() error { _, err := alloc.NewArena(a, nil); return err },
		"Trim":            func() error { _, err := a.Trim(); return err },
		"Recover":         func() error { _, err := a.Recover(); return err },
		"Collect":         func() error { _, err := a.Collect(ctx, nil); return err },
		"SetQuota":        func() error { return a.SetQuota(1) },
		"SetProfileRate":  func() error { return a.SetProfileRate(1) },
		"Mutex.Lock":      func() error { return w.mutex.Lock(ctx, h) },
		"Mutex.TryLock":   func() error { return w.mutex.TryLock(h) },
		"Mutex.Unlock":    func() error { return w.mutex.Unlock(h) },
		"RWMutex.RLock":   func() error { return w.rw.RLock(ctx, h) },
		"RWMutex.RUnlock": func() error { return w.rw.RUnlock(h) },
		"RWMutex.Lock":    func() error { return w.rw.Lock(ctx, h) },
		"Once.Do":         func() error { return w.once.Do(ctx, h, func(bool) error { return nil }) },
		"TryAcquire":      func() error { return w.permits.TryAcquire(h) },
		"Acquire":         func() error { return w.permits.Acquire(ctx, h) },
		"Release":         func() error { return w.permits.Release(h) },
		"Barrier.Wait":    func() error { return w.barrier.Wait(ctx, h) },
		"Cond.Wait":       func() error { return w.cond.Wait(ctx, h, &w.mutex) },
		"queue.New":       func() error { _, err := queue.New(a, nil); return err },
		"Producer":        func() error { return onQueue(a, func(q *queue.Queue) error { _, err := q.Producer(); return err }) },
		"Consumer":        func() error { return onQueue(a, func(q *queue.Queue) error { _, err := q.Consumer(); return err }) },
	}
}

func onQueue(a *alloc.Allocator, f func(*queue.Queue) error) error {
	q, err := queue.Open(a, "queue", nil)
	if err != nil {
		return err
	}
	q.Close() // does nothing here
	if q.Closed() {
		return errors.New("closed by a reader")
	}
	return f(q)
}

// mutate tries all changes and returns those that do not say ErrReadOnly.
func mutate(b box) (string, error) {
	wrong, all := []string{}, changes(b)
	for name, change := range all {
		if err := change(); !errors.Is(err, heap.ErrReadOnly) {
			wrong = append(wrong, fmt.Sprintf("%s: %v", name, err))
		}
	}
	return fmt.Sprintf("%d of %d: %s", len(wrong), len(all), strings.Join(wrong, "; ")), nil
}

// TestReader: who attaches without the right to write sees all, changes nothing, and is no peer.
func TestReader(t *testing.T) {
	dir := filepath.Join(publicDir(t), "heaps")
	b := newBox(t, heap.Options{Dir: dir})
	makeQueueAndLocks(t, b)
	before, err := os.ReadFile(b.Path())
	if err != nil {
		t.Fatal(err)
	}
	v := shmtest.Start(t, "visitor")
	want := fmt.Sprint("ok ", b.Base(), " 0")
	if got := v.Ask("open box read-only dir=" + dir); got != want {
		t.Fatalf("read-only: %s, want %s", got, want)
	}
	for command, want := range map[string]string{"walk": "[3 2 1]", "check": "ok"} {
		if got := v.Ask(command); got != want {
			t.Errorf("%s: %s, want %s", command, got, want)
		}
	}
	if got := v.Ask("stats"); !strings.HasPrefix(got, "ok ") {
		t.Error(got)
	}
	if got := v.Ask("mutate"); !strings.HasPrefix(got, "0 of 3") {
		t.Errorf("changes that a reader gets away with: %s", got)
	}
	if after, err := os.ReadFile(b.Path()); err != nil || string(after) != string(before) {
		t.Errorf("the reader changed the file: %v", err)
	}
	if err := b.push(4); err != nil {
		t.Fatal(err)
	}
	v.Tell("walk")
	v.Want("[4 3 2 1]")
	wantKept(t, b, dir)
	v.Kill()
	wantFree(t, dir)
}

func makeQueueAndLocks(t *testing.T, b box) {
	t.Helper()
	w, err := alloc.New[words](b.alloc)
	if err == nil {
		err = errors.Join(w.permits.Init(1), w.barrier.Init(1), alloc.StoreRoot(b.alloc, "words", w))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := queue.Open(b.alloc, "queue", &queue.Options{}); err != nil {
		t.Fatal(err)
	}
}

// wantKept: a reader is no peer, and the heap is in use all the same.
func wantKept(t *testing.T, b box, dir string) {
	t.Helper()
	if peers, err := b.Peers(); err != nil || len(peers) != 1 {
		t.Errorf("peers %v, %v", peers, err)
	}
	if _, err := b.Alone(); !errors.Is(err, heap.ErrNotAlone) {
		t.Errorf("alone beside a reader: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := heap.Remove(heapName, &heap.Options{Dir: dir}); !errors.Is(err, heap.ErrInUse) {
		t.Errorf("removed under a reader: %v", err)
	}
}

// wantFree: a reader that died holds nothing, and one that comes while somebody is alone waits in vain.
func wantFree(t *testing.T, dir string) {
	t.Helper()
	o := &heap.Options{Dir: dir}
	h, err := heap.Open(heapName, o)
	if err != nil {
		t.Fatal(err)
	}
	release, err := h.Alone()
	if err != nil {
		t.Fatalf("alone behind a dead reader: %v", err)
	}
	v := shmtest.Start(t, "visitor")
	if got := v.Ask("open box read-only dir=" + dir); got != "ErrBusy" {
		t.Errorf("a reader comes while somebody is alone: %s", got)
	}
	release()
	if got := v.Ask("open box read-only dir=" + dir); !strings.HasPrefix(got, "ok ") {
		t.Error(got)
	}
	v.Tell("close")
	v.Want("ok")
	if err := errors.Join(h.Close(), heap.Remove(heapName, o)); err != nil {
		t.Error(err)
	}
}

// TestReaderCannotStore: a store through a raw pointer is a fault, which ends the process.
func TestReaderCannotStore(t *testing.T) {
	programs := filepath.Join(publicDir(t), "heaps")
	b := newBox(t, heap.Options{Dir: programs})
	p := shmtest.Start(t, "scribbler", programs)
	p.Want("reading [3 2 1]")
	if state := p.Wait(); state.Success() || !strings.Contains(p.Said(), "fault") {
		t.Errorf("a reader that stores: %v, %s", state, p.Said())
	}
	b.wantWalk(t, "[3 2 1]")
}

func init() { programs["scribbler"] = runScribbler }

// runScribbler stores through a pointer into a heap that it has open for reading.
func runScribbler() error {
	h, err := heap.OpenReadOnly(heapName, &heap.Options{Dir: os.Args[1]})
	if err != nil {
		return err
	}
	a, err := alloc.Open(h)
	if err != nil {
		return err
	}
	list, err := box{h, a}.walk()
	if err != nil {
		return err
	}
	fmt.Println("reading", list)
	n, err := alloc.LoadRoot[node](a, "list")
	if err != nil {
		return err
	}
	n.value = 99
	return nil
}
