package lock_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/lock"
)

// taken are locks that nobody gives back.
type taken struct {
	Mutex, Free   lock.Mutex
	Read, Written lock.RWMutex
	Semaphore     lock.Semaphore
	Cond          lock.Cond
	Once          lock.Once
	Barrier       lock.Barrier
}

func newTaken(t *testing.T, dir string) (*heap.Heap, *taken) {
	t.Helper()
	h, err := heap.Create("test", &heap.Options{Dir: dir, Size: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	data := h.Geometry().Sections.Data
	if err := h.Commit(data, layout.GranuleSize); err != nil {
		t.Fatal(err)
	}
	x := mem.View[taken](h.Memory(), data)
	ctx := t.Context()
	if err := errors.Join(x.Mutex.Lock(ctx, h), x.Free.Lock(ctx, h), x.Read.RLock(ctx, h), x.Written.Lock(ctx, h),
		x.Semaphore.Init(1), x.Semaphore.Acquire(ctx, h), x.Barrier.Init(2)); err != nil {
		t.Fatal(err)
	}
	busy := make(chan struct{})
	go x.Once.Do(ctx, h, func(bool) error {
		close(busy)
		select {} // who returned would look at the lock
	})
	<-busy
	return h, x
}

func (x *taken) waits(h *heap.Heap) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Mutex.Lock":        func(ctx context.Context) error { return x.Mutex.Lock(ctx, h) },
		"RWMutex.Lock":      func(ctx context.Context) error { return x.Read.Lock(ctx, h) },
		"RWMutex.RLock":     func(ctx context.Context) error { return x.Written.RLock(ctx, h) },
		"Semaphore.Acquire": func(ctx context.Context) error { return x.Semaphore.Acquire(ctx, h) },
		"Cond.Wait":         func(ctx context.Context) error { return x.Cond.Wait(ctx, h, &x.Free) },
		"Barrier.Wait":      func(ctx context.Context) error { return x.Barrier.Wait(ctx, h) },
		"Once.Do":           func(ctx context.Context) error { return x.Once.Do(ctx, h, func(bool) error { return nil }) },
	}
}

// TestHeapClosedInWaits: whoever waits for a lock when the heap is closed returns, and what it gives back it gives back
// before the heap is gone.
func TestHeapClosedInWaits(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "heaps")
	for round := range 12 {
		h, x := newTaken(t, dir)
		var all sync.WaitGroup
		for name, wait := range x.waits(h) {
			ctx := shmtest.NewBegun(t.Context())
			all.Go(func() {
				if err := wait(ctx); !errors.Is(err, heap.ErrClosed) {
					t.Errorf("%s when the heap was closed: %v", name, err)
				}
			})
			<-ctx.Told
		}
		time.Sleep(time.Duration(round) * 100 * time.Microsecond)
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		if err := heap.Remove("test", &heap.Options{Dir: dir}); err != nil {
			t.Fatal(err)
		}
	}
}
