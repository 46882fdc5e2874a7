package alloc

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// TestPlaces: goroutines that are more than there are places, drive one another out and have their empty slabs
// taken away meanwhile, never share a cache. If two did, a block would be handed out twice.
func TestPlaces(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, _ := r.join(t)
	var wg sync.WaitGroup
	var stop atomic.Bool
	goroutines := 4 * len(a.near.places)
	for i := range goroutines {
		wg.Go(func() { occupy(t, a, uint64(i), &stop) })
	}
	var drops int
	for end := time.Now().Add(time.Second); time.Now().Before(end); drops++ {
		a.near.dropEmpties()
		time.Sleep(100 * time.Microsecond)
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%d goroutines, %d places, %d misses, %d drops", goroutines, len(a.near.places), a.near.misses.Load(), drops)
	mustCheck(t, a)
	mustCount(t, a, 0)
}

// occupy allocates, marks and frees blocks, and notices when somebody else has one of them too.
func occupy(t *testing.T, a *Allocator, mark uint64, stop *atomic.Bool) {
	rng := rand.New(rand.NewPCG(mark, 1))
	var mine [16]uint64
	for n := uint64(0); !stop.Load() || n%16 != 0; n++ {
		i := n % 16
		if off := mine[i]; off != 0 {
			if got := a.memory.Word(off).Load(); got != mark<<32|off {
				t.Errorf("block at %#x of goroutine %d holds %#x", off, mark, got)
				return
			}
			if err := a.free(off); err != nil {
				t.Errorf("free of %#x: %v", off, err)
				return
			}
			mine[i] = 0
		}
		if stop.Load() {
			continue
		}
		off, err := a.alloc(16 + rng.Uint64N(500))
		if err != nil {
			t.Error(err)
			return
		}
		a.memory.Word(off).StoreRelease(mark<<32 | off)
		mine[i] = off
	}
	for _, off := range mine {
		if off != 0 {
			if err := a.free(off); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestCloseWaitsForPlaces: when Close has returned nobody touches the heap any more.
func TestCloseWaitsForPlaces(t *testing.T) {
	for range 20 {
		r := newGoRegion(t, 16<<20)
		a, _ := r.join(t)
		other, _ := r.join(t)
		var started, wg sync.WaitGroup
		var done atomic.Int64
		for range 8 {
			started.Add(1)
			wg.Go(func() {
				for n := 0; ; n++ {
					off, err := a.alloc(64)
					if errors.Is(err, ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					if n == 10 {
						started.Done()
					}
					done.Add(1)
					if err := a.free(off); err == nil {
						done.Add(-1)
					} else if !errors.Is(err, ErrClosed) {
						t.Error(err)
						return
					}
				}
			})
		}
		started.Wait()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		before, err := other.Stats()
		wg.Wait()
		after, err2 := other.Stats()
		if err != nil || err2 != nil || before.Live != after.Live || after.Live != uint64(done.Load()) || after.Caches != 0 {
			t.Fatalf("%d blocks in use at Close, %d later, %d held: %v, %v", before.Live, after.Live, done.Load(), err, err2)
		}
		mustCheck(t, other)
	}
}

// TestCloseOfAFullHeap: Close does not wait for a goroutine that waits for Close. Who finds no room looks for empty slabs
// at all places, with its own still busy.
func TestCloseOfAFullHeap(t *testing.T) {
	for range 10 {
		a, _ := newGoRegion(t, 8<<20).join(t)
		var full, over sync.WaitGroup
		for range 4 {
			full.Add(1)
			over.Go(func() {
				met := sync.OnceFunc(full.Done)
				for err := error(nil); !errors.Is(err, ErrClosed); {
					if _, err = a.alloc(30_000); errors.Is(err, ErrNoSpace) {
						met()
					}
				}
			})
		}
		full.Wait()
		closed := make(chan error, 1)
		go func() { closed <- a.Close() }()
		select {
		case err := <-closed:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(shmtest.Patience):
			t.Fatal("Close hangs")
		}
		over.Wait()
	}
}
