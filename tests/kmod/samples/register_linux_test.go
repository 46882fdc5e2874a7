package samples

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"structs"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/lock"
)

// A register of 64 bits has four fields. Each writer owns one and counts in it, so that a lost update of
// any of the others shows: a field falls back to what it was.
const (
	fields    = 4
	fieldBits = 16
	fieldMask = 1<<fieldBits - 1
)

// board is what the writers share beside the register.
type board struct {
	_ structs.HostLayout

	mutex lock.Mutex
	stop  atomic.Uint64
	lost  atomic.Uint64 // fields that were not as their owner had left them
	begun [fields]atomic.Uint64
	done  [fields]atomic.Uint64
}

// get returns a field of the register's value.
func get(v uint64, field int) uint64 { return v >> (fieldBits * field) & fieldMask }

// put returns v with another value of a field.
func put(v uint64, field int, n uint64) uint64 {
	shift := fieldBits * field
	return v&^(fieldMask<<shift) | n&fieldMask<<shift
}

func makeBoard(t *testing.T, dir string) (*heap.Heap, *board) {
	t.Helper()
	h, err := heap.Create("board", &heap.Options{Dir: dir, Size: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	b, err := alloc.New[board](a)
	if err == nil {
		err = alloc.StoreRoot(a, "board", b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h, b
}

func openBoard(dir string) (*heap.Heap, *board, error) {
	h, err := heap.Open("board", &heap.Options{Dir: dir})
	if err != nil {
		return nil, nil, err
	}
	a, err := alloc.Open(h)
	if err != nil {
		return nil, nil, err
	}
	b, err := alloc.LoadRoot[board](a, "board")
	return h, b, err
}

// A changer replaces the register's value by a function of it.
type changer func(func(uint64) uint64) error

// runWriter is a process that owns a field: its arguments are the heaps' directory, the field, and how the
// register is changed.
func runWriter() error {
	h, b, err := openBoard(os.Args[1])
	if err != nil {
		return err
	}
	defer h.Close()
	field, err := strconv.Atoi(os.Args[2])
	if err != nil {
		return err
	}
	change, err := changers[os.Args[3]](h, b)
	if err != nil {
		return err
	}
	fmt.Println("up")
	go shmtest.Listen()
	if err := b.resume(field, change); err != nil {
		return err
	}
	for b.stop.Load() == 0 {
		if err := b.count(field, change); err != nil {
			return err
		}
	}
	return nil
}

var changers = map[string]func(*heap.Heap, *board) (changer, error){
	"guarded": guarded, "bare": bare, "attached": attached,
}

// guarded changes the register under the lock.
func guarded(h *heap.Heap, b *board) (changer, error) {
	r, err := scratch()
	g := lock.NewGuard(h, &b.mutex, r)
	return func(f func(uint64) uint64) error {
		_, _, err := g.Update(context.Background(), f)
		return err
	}, err
}

// bare does the same without the lock: what must not be done.
func bare(*heap.Heap, *board) (changer, error) {
	r, err := scratch()
	return func(f func(uint64) uint64) error {
		r.Write(f(r.Read()))
		return nil
	}, err
}

func scratch() (r lock.Register[uint64], err error) {
	registers, err := mapBAR()
	if err != nil {
		return r, err
	}
	return lock.RegisterAt[uint64](registers, eduScratch)
}

// resume finds out how far the field's last owner came: killed in the middle of a change it has made it or
// has not.
func (b *board) resume(field int, change changer) error {
	return change(func(v uint64) uint64 {
		begun, done := b.begun[field].Load(), b.done[field].Load()
		switch get(v, field) {
		case begun & fieldMask:
			b.done[field].Store(begun)
		case done & fieldMask:
		default:
			b.lost.Add(1)
		}
		return v
	})
}

// count adds one to the field, which nobody else changes.
func (b *board) count(field int, change changer) error {
	n := b.done[field].Load()
	b.begun[field].Store(n + 1)
	err := change(func(v uint64) uint64 {
		if get(v, field) != n&fieldMask {
			b.lost.Add(1)
		}
		return put(v, field, n+1)
	})
	b.done[field].Store(n + 1)
	return err
}

// total returns how often all fields were changed.
func (b *board) total() (n uint64) {
	for i := range b.done {
		n += b.done[i].Load()
	}
	return n
}

// start begins with a register of zeros and one writer for each field.
func start(t *testing.T, dir, how string) (writers []*shmtest.Process) {
	t.Helper()
	r, err := scratch()
	if err != nil {
		t.Fatal(err)
	}
	r.Write(0)
	for field := range fields {
		writers = append(writers, shmtest.Start(t, "writer", dir, strconv.Itoa(field), how))
		writers[field].Want("up")
	}
	return writers
}

// TestSharedRegister: four processes change one register under a lock in ordinary memory, and are killed at
// it now and then. None of their updates is lost.
func TestSharedRegister(t *testing.T) {
	needGuest(t)
	dir := heapDir(t)
	_, b := makeBoard(t, dir)
	writers := start(t, dir, "guarded")
	kills := kills(t, 10)
	for range kills {
		before := b.total()
		shmtest.Until(t, "progress", func() bool { return b.total() > before+100 })
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		field := rand.IntN(fields)
		writers[field].Kill()
		writers[field] = shmtest.Start(t, "writer", dir, strconv.Itoa(field), "guarded")
		writers[field].Want("up")
	}
	before := b.total()
	shmtest.Until(t, "progress after the last death", func() bool { return b.total() > before+5000 })
	b.stop.Store(1)
	for _, w := range writers {
		w.Succeed()
	}
	r, err := scratch()
	if err != nil {
		t.Fatal(err)
	}
	for field, v := 0, r.Read(); field < fields; field++ {
		if want := b.done[field].Load(); get(v, field) != want&fieldMask || want == 0 {
			t.Errorf("field %d is %d after %d updates", field, get(v, field), want)
		}
	}
	if n := b.lost.Load(); n != 0 {
		t.Errorf("%d updates were lost", n)
	}
	t.Logf("note: %d updates of a register by %d processes, %d kills, none lost", b.total(), fields, kills)
}

// TestUnlockedRegister: the same without the lock loses updates, and the test sees it.
func TestUnlockedRegister(t *testing.T) {
	needGuest(t)
	dir := heapDir(t)
	_, b := makeBoard(t, dir)
	writers := start(t, dir, "bare")
	shmtest.Until(t, "an update that is lost without the lock", func() bool { return b.lost.Load() > 0 })
	b.stop.Store(1)
	for _, w := range writers {
		w.Succeed()
	}
	t.Logf("note: without the lock the first of %d updates was lost", b.total())
}

// TestRegisterPlaces: what is no register is refused.
func TestRegisterPlaces(t *testing.T) {
	needGuest(t)
	registers, err := mapBAR()
	if err != nil {
		t.Fatal(err)
	}
	for _, offset := range []uint64{1, 4, uint64(len(registers)) - 4, uint64(len(registers)), 1 << 63} {
		if _, err := lock.RegisterAt[uint64](registers, offset); !errors.Is(err, lock.ErrCorrupt) {
			t.Errorf("eight bytes at %#x: %v", offset, err)
		}
	}
}
