//go:build crashpoint

package lock

import (
	"context"
	"errors"
	"fmt"
	"structs"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/lock"
)

// desk is what the test of crash points shares: one of each lock.
type desk struct {
	_ structs.HostLayout
	table

	cond     lock.Cond
	barrier  lock.Barrier
	guard    lock.Mutex
	once     [onces]lock.Once
	runs     [onces]atomic.Uint64 // begun
	register uint64
	turning  atomic.Uint64
	begun    [2]atomic.Uint64 // changes of the pair, by who dies and by who survives
	done     [2]atomic.Uint64
}

const onces = 64

// Who takes turns.
const (
	doomed   = 0
	survivor = 1
)

// turn uses every lock once. Locks are held for so long that others fall asleep.
func (v *desk) turn(h *heap.Heap, who, n int) error {
	for name, use := range map[string]func(*heap.Heap) error{
		"mutex":  func(h *heap.Heap) error { return v.count(h, who) },
		"cond":   v.useCond,
		"writer": v.useWriter, "reader": v.useReader, "permit": v.usePermit,
		"once":    func(h *heap.Heap) error { return v.useOnce(h, n%onces) },
		"barrier": v.useBarrier,
		"guard":   func(h *heap.Heap) error { return v.useGuard(h, who) },
	} {
		if err := use(h); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (v *desk) count(h *heap.Heap, who int) error {
	err := v.mutex.Lock(context.Background(), h)
	if err := v.enter(err, &v.pair, func() error { return v.mutex.MarkConsistent(h) }); err != nil {
		return err
	}
	v.begun[who].Add(1)
	v.pair[0]++
	time.Sleep(200 * time.Microsecond)
	v.pair[1]++
	v.done[who].Add(1)
	return v.mutex.Unlock(h)
}

// useCond waits for what may not come, and signals.
func (v *desk) useCond(h *heap.Heap) error {
	err := v.mutex.Lock(context.Background(), h)
	if err := v.enter(err, &v.pair, func() error { return v.mutex.MarkConsistent(h) }); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	err = v.cond.Wait(ctx, h, &v.mutex)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	if err := v.enter(err, &v.pair, func() error { return v.mutex.MarkConsistent(h) }); err != nil {
		return err
	}
	v.cond.Signal()
	return v.mutex.Unlock(h)
}

func (v *desk) useOnce(h *heap.Heap, i int) error {
	return v.once[i].Do(context.Background(), h, func(again bool) error {
		if n := v.runs[i].Add(1); n > 1 && !again {
			return fmt.Errorf("number %d is run %d times, and was not told", i, n)
		}
		return nil
	})
}

func (v *desk) useBarrier(h *heap.Heap) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Millisecond)
	defer cancel()
	if err := v.barrier.Wait(ctx, h); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// useGuard inverts a bit of one's own and looks at it.
func (v *desk) useGuard(h *heap.Heap, who int) error {
	off, _ := h.Memory().Offset(unsafe.Pointer(&v.register))
	r, err := lock.RegisterAt[uint64](h.Memory().Bytes(off, 8), 0)
	if err != nil {
		return err
	}
	g := lock.NewGuard(h, &v.guard, r)
	before, after, err := g.Update(context.Background(), func(v uint64) uint64 {
		time.Sleep(100 * time.Microsecond)
		return v ^ 1<<who
	})
	if now := g.Read(); err == nil && (before^after != 1<<who || (now^after)>>who&1 != 0) {
		err = fmt.Errorf("register of %#x becomes %#x and is %#x", before, after, now)
	}
	return err
}
