package crash

import (
	"fmt"
	"math/bits"
	"structs"
	"sync/atomic"
	"time"
)

// Kinds of operations that workers time. The one behind a small one is the same with large blocks.
const (
	allocatingSmall = iota
	allocatingLarge
	freeingSmall
	freeingLarge
	recovering
	operationKinds
)

var kindNames = [operationKinds]string{"alloc", "alloc large", "free", "free large", "recover"}

// times counts how long operations took, by powers of two of nanoseconds: by the clock, and without what the
// thread waited for a processor, which is not the heap's doing.
type times struct {
	_ structs.HostLayout

	clock, own distribution
}

type distribution struct {
	_ structs.HostLayout

	counts [40]atomic.Uint64
	worst  atomic.Uint64 // ns
}

func (d *distribution) add(t time.Duration) {
	ns := uint64(max(t, 0))
	d.counts[min(bits.Len64(ns), len(d.counts)-1)].Add(1)
	for {
		worst := d.worst.Load()
		if ns <= worst || d.worst.CompareAndSwap(worst, ns) {
			return
		}
	}
}

func (d *distribution) total() (n uint64) {
	for i := range d.counts {
		n += d.counts[i].Load()
	}
	return n
}

// over counts what took longer than a power of two: at least t.
func (d *distribution) over(t time.Duration) (n uint64) {
	for i := bits.Len64(uint64(t)); i < len(d.counts); i++ {
		n += d.counts[i].Load()
	}
	return n
}

// quantile returns a power of two that the fraction q of all did not exceed.
func (d *distribution) quantile(q float64) time.Duration {
	want, n := uint64(float64(d.total())*q), uint64(0)
	for i := range d.counts {
		if n += d.counts[i].Load(); n > want || n == d.total() {
			return time.Duration(1)<<i - 1
		}
	}
	return 0
}

func (d *distribution) String() string {
	return fmt.Sprintf("%9d: p50 < %v, p99 < %v, p99.9 < %v, p99.99 < %v, worst %v, %d over 1 ms", d.total(), d.quantile(.5), d.quantile(.99),
		d.quantile(.999), d.quantile(.9999), time.Duration(d.worst.Load()), d.over(1<<20))
}

// stopwatch times the operations of one thread.
type stopwatch struct {
	times []times
	delay runDelay
}

func newStopwatch(t []times) *stopwatch { return &stopwatch{times: t, delay: newRunDelay()} }

func (w *stopwatch) time(kind int, do func() error) error {
	waited, begin := w.delay.read(), time.Now()
	err := do()
	took := time.Since(begin)
	w.times[kind].clock.add(took)
	w.times[kind].own.add(took - (w.delay.read() - waited))
	return err
}
