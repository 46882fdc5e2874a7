package queue

import (
	"errors"
	"runtime"
	"testing"
)

// ledger counts what goes through a queue and comes out of it, and holds both to the order and the room.
type ledger struct {
	t              *testing.T
	q              *Queue
	pushed, popped int
}

func (l *ledger) push(p *Producer, batch []uint64) {
	l.t.Helper()
	for i := range batch {
		batch[i] = l.q.element((l.pushed + i) % 1000)
	}
	var n int
	var err error
	if len(batch) == 1 {
		if err = p.TryPush(batch[0]); err == nil {
			n = 1
		}
	} else {
		n, err = p.TryPushAll(batch)
	}
	if room := l.q.Cap() - (l.pushed - l.popped); n != min(len(batch), room) || (n < len(batch)) != errors.Is(err, ErrFull) {
		l.t.Fatalf("%d of %d pushed, room for %d: %v", n, len(batch), room, err)
	}
	l.pushed += n
}

func (l *ledger) pop(c *Consumer, batch []uint64) {
	l.t.Helper()
	var n int
	var err error
	if len(batch) == 1 {
		if batch[0], err = c.TryPop(); err == nil {
			n = 1
		}
	} else {
		n, err = c.TryPopAll(batch)
	}
	if there := l.pushed - l.popped; n > there || n == 0 && there > 0 && len(batch) > 0 || err != nil && !errors.Is(err, ErrEmpty) {
		l.t.Fatalf("%d of %d popped, %d there: %v", n, len(batch), there, err)
	}
	for _, v := range batch[:n] {
		if l.q.number(v) != l.popped%1000 {
			l.t.Fatalf("element %d is %d", l.popped, l.q.number(v))
		}
		l.popped++
	}
}

// TestStretches: looking far ahead finds no slot free that is not, and none full; wherever the queue ends, and
// whether it is nearly full or nearly empty.
func TestStretches(t *testing.T) {
	for _, capacity := range []int{128, 256, 1024, 16384} {
		m := newGoRegion(t, testSize).join()
		q := m.queue(t, &Options{Kind: SPSC, Capacity: capacity})
		p, c := mustProducer(t, q), mustConsumer(t, q)
		if (p.stretch > 0) != (capacity >= 256) || p.stretch != c.stretch || int(p.stretch) > capacity/4 {
			t.Errorf("capacity %d: stretches of %d and %d", capacity, p.stretch, c.stretch)
		}
		l := &ledger{t: t, q: q}
		batch := make([]uint64, 300)
		for round := range 6000 {
			ahead, behind := 1+round*7%299, 1+round*11%97
			if round/500%2 == 1 {
				ahead, behind = behind, ahead
			}
			l.push(p, batch[:ahead])
			l.pop(c, batch[:behind])
			if round%3 == 0 {
				l.push(p, batch[:1])
				l.pop(c, batch[:1])
			}
		}
		for l.popped < l.pushed {
			l.pop(c, batch)
		}
		l.pop(c, batch)
	}
}

// TestStream: a producer and a consumer that run at once, one by one and in batches of any length.
func TestStream(t *testing.T) {
	for _, kind := range []Kind{SPSC, MPSC} {
		m := newGoRegion(t, testSize).join()
		q := m.queue(t, &Options{Kind: kind, Capacity: 512})
		p, c := mustProducer(t, q), mustConsumer(t, q)
		const total = 100_000
		go func() {
			batch := make([]uint64, 64)
			for n := 0; n < total; {
				b := batch[:min(1+n%len(batch), total-n)]
				for i := range b {
					b[i] = q.element((n + i) % 1000)
				}
				got, err := p.TryPushAll(b)
				if n += got; errors.Is(err, ErrFull) {
					runtime.Gosched()
				}
			}
		}()
		batch := make([]uint64, 64)
		for n := 0; n < total; {
			got, err := c.TryPopAll(batch[:1+n%len(batch)])
			if errors.Is(err, ErrEmpty) {
				runtime.Gosched()
			} else if err != nil {
				t.Fatal(err)
			}
			for _, v := range batch[:got] {
				if q.number(v) != n%1000 {
					t.Fatalf("element %d is %d", n, q.number(v))
				}
				n++
			}
		}
	}
}

// TestStretchBehindTheTruth: a producer that follows one that died before it said where it was overwrites
// nothing, whether that has been popped meanwhile or not.
func TestStretchBehindTheTruth(t *testing.T) {
	for _, popped := range []int{0, 3, 5} {
		g := newGoRegion(t, testSize)
		one, two := g.join(), g.join()
		q := one.queue(t, &Options{Kind: SPSC, Capacity: 1024})
		p := mustProducer(t, q)
		for n := range 5 {
			if err := p.TryPush(q.element(n)); err != nil {
				t.Fatal(err)
			}
		}
		c := mustConsumer(t, two.at(t, q.off))
		pop := func(n int) {
			if v, err := c.TryPop(); err != nil || q.number(v) != n {
				t.Fatalf("element %d is %d: %v", n, q.number(v), err)
			}
		}
		one.die()
		next := mustProducer(t, two.at(t, q.off))
		for n := range popped {
			pop(n)
		}
		for n := 5; n < 10; n++ {
			if err := next.TryPush(q.element(n)); err != nil {
				t.Fatal(err)
			}
		}
		for n := popped; n < 10; n++ {
			pop(n)
		}
	}
}
