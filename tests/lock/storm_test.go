package lock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"structs"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/lock"
)

// programs are what the tests run in processes of their own. Each file adds its own.
var programs = map[string]func() error{"holder": runHolder}

func TestMain(m *testing.M) { shmtest.Main(m, programs) }

// newDir returns a directory of heaps, on tmpfs where there is one.
func newDir(t testing.TB) string {
	t.Helper()
	parent := ""
	if runtime.GOOS == "linux" {
		parent = "/dev/shm"
	}
	dir, err := os.MkdirTemp(parent, "shmheap-lock-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "heaps")
}

// table is what the processes share. The pairs are equal whenever nobody is inside.
type table struct {
	_ structs.HostLayout

	mutex   lock.Mutex
	rw      lock.RWMutex
	permits lock.Semaphore
	stop    atomic.Uint64
	turns   atomic.Uint64
	repairs atomic.Uint64
	wrong   atomic.Uint64
	pair    [2]uint64
	rwPair  [2]uint64
}

// attach opens the heap, or creates it, and returns what lies there.
func attach[T any](create bool, dir string) (*heap.Heap, *T, error) {
	o := &heap.Options{Dir: dir, Size: 64 << 20}
	open := heap.Open
	if create {
		open = heap.Create
	}
	h, err := open("locks", o)
	if err != nil {
		return nil, nil, err
	}
	a, err := alloc.Open(h)
	if err != nil {
		return nil, nil, err
	}
	var v *T
	if create {
		if v, err = alloc.New[T](a); err == nil {
			err = alloc.StoreRoot(a, "table", v)
		}
	} else {
		v, err = alloc.LoadRoot[T](a, "table")
	}
	return h, v, err
}

func runHolder() error {
	h, v, err := attach[table](false, os.Args[1])
	if err != nil {
		return err
	}
	fmt.Println("up")
	go func() { shmtest.Listen() }()
	random := rand.New(rand.NewPCG(uint64(os.Getpid()), 0))
	steps := []func(*heap.Heap) error{v.useMutex, v.useWriter, v.useReader, v.usePermit}
	if len(os.Args) > 2 {
		steps = steps[:1] // the mutex alone
	}
	for v.stop.Load() == 0 {
		step := steps[random.IntN(len(steps))]
		if err := step(h); err != nil {
			v.wrong.Add(1)
			return err
		}
		v.turns.Add(1)
	}
	return h.Close()
}

// enter makes sense of the error of a lock that may have been a dead process's.
func (v *table) enter(err error, pair *[2]uint64, consistent func() error) error {
	if errors.Is(err, lock.ErrOwnerDied) {
		v.repairs.Add(1)
		pair[1] = pair[0]
		err = consistent()
	}
	if err == nil && pair[0] != pair[1] {
		err = fmt.Errorf("pair is %v", *pair)
	}
	return err
}

func (v *table) useMutex(h *heap.Heap) error {
	p := lock.WithKernel(h)
	err := v.mutex.Lock(context.Background(), p)
	if err := v.enter(err, &v.pair, func() error { return v.mutex.MarkConsistent(p) }); err != nil {
		return err
	}
	v.pair[0]++
	spend()
	v.pair[1]++
	return v.mutex.Unlock(p)
}

func (v *table) useWriter(h *heap.Heap) error {
	err := v.rw.Lock(context.Background(), h)
	if err := v.enter(err, &v.rwPair, func() error { return v.rw.MarkConsistent(h) }); err != nil {
		return err
	}
	v.rwPair[0]++
	spend()
	v.rwPair[1]++
	return v.rw.Unlock(h)
}

func (v *table) useReader(h *heap.Heap) error {
	err := v.rw.RLock(context.Background(), h)
	if errors.Is(err, lock.ErrOwnerDied) {
		return v.useWriter(h)
	}
	if err != nil {
		return err
	}
	if v.rwPair[0] != v.rwPair[1] {
		return fmt.Errorf("a reader sees %v", v.rwPair)
	}
	spend()
	return v.rw.RUnlock(h)
}

func (v *table) usePermit(h *heap.Heap) error {
	if err := v.permits.Acquire(context.Background(), h); err != nil {
		return err
	}
	spend()
	return v.permits.Release(h)
}

// spend takes a few hundred nanoseconds, so that most kills hit a holder.
func spend() {
	var own atomic.Uint64
	for range 50 {
		own.Add(1)
	}
}

// newTable makes a heap with a table, and returns its directory too.
func newTable(t *testing.T) (*heap.Heap, *table, string) {
	t.Helper()
	dir := newDir(t)
	h, v, err := attach[table](true, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h, v, dir
}

// TestStorm kills and stops processes that hold locks. The others go on, and a stopped one is waited for.
func TestStorm(t *testing.T) {
	h, v, dir := newTable(t)
	if err := v.permits.Init(2); err != nil {
		t.Fatal(err)
	}
	var holders [4]*shmtest.Process
	for i := range holders {
		holders[i] = shmtest.Start(t, "holder", dir)
	}
	for n := range 150 {
		i := rand.IntN(len(holders))
		holders[i].Want("up")
		if n%10 == 0 {
			holders[i].Signal(syscall.SIGSTOP)
			time.Sleep(5 * time.Millisecond)
			holders[i].Signal(syscall.SIGCONT)
		}
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		holders[i].Kill()
		holders[i] = shmtest.Start(t, "holder", dir)
	}
	before := v.turns.Load()
	shmtest.Until(t, "turns after the last death", func() bool { return v.turns.Load() > before+1000 })
	v.stop.Store(1)
	for _, p := range holders {
		p.Succeed()
	}
	if v.wrong.Load() != 0 {
		t.Errorf("%d went wrong", v.wrong.Load())
	}
	t.Logf("note: %d turns, %d repairs", v.turns.Load(), v.repairs.Load())
	for range 2 {
		if err := v.permits.TryAcquire(h); err != nil {
			t.Error(err)
		}
	}
}
