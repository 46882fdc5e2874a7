package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// kinds are all kinds of queues, by name.
var kinds = map[string]Kind{"SPSC": SPSC, "MPSC": MPSC, "MPMC": MPMC}

func eachKind(t *testing.T, f func(t *testing.T, k Kind)) {
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) { f(t, k) })
	}
}

const testSize = 1 << 20

// TestOrder: elements come out in their order, through many laps, and a full or empty queue says so.
func TestOrder(t *testing.T) {
	eachKind(t, func(t *testing.T, k Kind) {
		m := newGoRegion(t, testSize).join()
		q := m.queue(t, &Options{Kind: k, Capacity: 8})
		p, c := mustProducer(t, q), mustConsumer(t, q)
		pushed, popped := 0, 0
		for round := range 5000 * 12 { // more laps than a slot counts
			for range round % 10 {
				err := p.TryPush(q.element(pushed % 1000))
				if full := pushed-popped == q.Cap(); full != errors.Is(err, ErrFull) || !full && err != nil {
					t.Fatalf("push of element %d with %d popped: %v", pushed, popped, err)
				}
				if err == nil {
					pushed++
				}
			}
			for range (round + 5) % 10 {
				v, err := c.TryPop()
				if empty := pushed == popped; empty != errors.Is(err, ErrEmpty) || !empty && err != nil {
					t.Fatalf("pop of element %d of %d: %v", popped, pushed, err)
				}
				if err == nil {
					if q.number(v) != popped%1000 {
						t.Fatalf("element %d is %d", popped, q.number(v))
					}
					popped++
				}
			}
		}
		if n := q.Len(); n < pushed-popped-16 || n > pushed-popped+16 {
			t.Errorf("length %d, is %d", n, pushed-popped)
		}
	})
}

// TestBatches: batches give the same elements as single ones.
func TestBatches(t *testing.T) {
	eachKind(t, func(t *testing.T, k Kind) {
		m := newGoRegion(t, testSize).join()
		q := m.queue(t, &Options{Kind: k, Capacity: 64})
		p, c := mustProducer(t, q), mustConsumer(t, q)
		in, out := make([]uint64, 50), make([]uint64, 50)
		pushed, popped := 0, 0
		for round := range 20_000 {
			batch := in[:round%len(in)]
			for i := range batch {
				batch[i] = q.element((pushed + i) % 1000)
			}
			n, err := p.TryPushAll(batch)
			if room := q.Cap() - (pushed - popped); n != min(len(batch), room) || (n < len(batch)) != errors.Is(err, ErrFull) {
				t.Fatalf("%d of %d pushed, room for %d: %v", n, len(batch), room, err)
			}
			pushed += n
			n, err = c.TryPopAll(out[:round*7%len(out)])
			if err != nil && !errors.Is(err, ErrEmpty) {
				t.Fatal(err)
			}
			for _, v := range out[:n] {
				if q.number(v) != popped%1000 {
					t.Fatalf("element %d is %d", popped, q.number(v))
				}
				popped++
			}
		}
		if popped < 10_000 {
			t.Errorf("%d popped", popped)
		}
	})
}

// TestRefusesWhatIsNoOffset: elements are checked on their way in and on their way out.
func TestRefusesWhatIsNoOffset(t *testing.T) {
	eachKind(t, func(t *testing.T, k Kind) {
		m := newGoRegion(t, testSize).join()
		q := m.queue(t, &Options{Kind: k})
		p, c := mustProducer(t, q), mustConsumer(t, q)
		for _, v := range []uint64{0, 8, 4088, 4097, 4100, testSize, testSize + 8, 1 << 46, ^uint64(0) - 7, ^uint64(0)} {
			wantErr(t, fmt.Sprintf("push %#x", v), p.TryPush(v), ErrOffset)
			n, err := p.TryPushAll([]uint64{v})
			wantErr(t, fmt.Sprintf("push %#x in a batch", v), err, ErrOffset)
			if n != 0 {
				t.Errorf("%d pushed", n)
			}
		}
		for i, v := range []uint64{8, 4088, testSize, 1<<46 - 8} {
			q.slots[i].Swap(slotFull | v/Unit)
		}
		q.slots[4].Swap(slotFull | 4096/Unit)
		for range 4 {
			_, err := c.TryPop()
			wantErr(t, "pop of a hostile element", err, ErrCorrupt)
		}
		if v, err := c.TryPop(); v != 4096 || err != nil {
			t.Errorf("popped %#x, %v", v, err)
		}
		if n := q.head.Dropped.Load(); n != 4 {
			t.Errorf("%d dropped", n)
		}
	})
}

// TestConcurrent: every element is popped exactly once, and those of one producer in their order.
func TestConcurrent(t *testing.T) {
	shapes := []struct {
		kind                 Kind
		producers, consumers int
	}{{SPSC, 1, 1}, {MPSC, 1, 1}, {MPSC, 3, 1}, {MPMC, 2, 2}, {MPMC, 3, 3}}
	for _, s := range shapes {
		for _, capacity := range []int{2, 16, 1024} {
			t.Run(fmt.Sprintf("%d-%d-%d-%d", s.kind, s.producers, s.consumers, capacity), func(t *testing.T) {
				each := min(200*capacity, 20_000)
				r := newGoRegion(t, testSize)
				q := r.join().queue(t, &Options{Kind: s.kind, Capacity: capacity})
				var group sync.WaitGroup
				for i := range s.producers {
					p := mustProducer(t, q)
					group.Go(func() { produce(t, q, p, i, each) })
				}
				seen := make([][]int, s.consumers)
				for i := range s.consumers {
					c := mustConsumer(t, q)
					group.Go(func() { seen[i] = consume(t, q, c) })
				}
				group.Wait()
				account(t, seen, s.producers, each)
			})
		}
	}
}

// The numbers of producer i are those that are i modulo 4; the last one says that it is done.
func produce(t *testing.T, q *Queue, p *Producer, i, each int) {
	for n := range each {
		if err := p.Push(t.Context(), q.element(4*n+i)); err != nil {
			t.Error(err)
			return
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if len(q.Attached(ProducerRole)) == 0 {
		q.Close()
	}
}

func consume(t *testing.T, q *Queue, c *Consumer) (seen []int) {
	for {
		v, err := c.Pop(t.Context())
		if errors.Is(err, ErrClosed) {
			return seen
		}
		if err != nil {
			t.Error(err)
			return seen
		}
		seen = append(seen, q.number(v))
	}
}

// account fails the test unless all numbers are there once, and each consumer saw those of one producer
// ascending.
func account(t *testing.T, seen [][]int, producers, each int) {
	t.Helper()
	count := make(map[int]int)
	for c, numbers := range seen {
		last := make(map[int]int)
		for _, n := range numbers {
			count[n]++
			if before, ok := last[n%4]; ok && before >= n {
				t.Errorf("consumer %d popped %d behind %d", c, n, before)
			}
			last[n%4] = n
		}
	}
	for i := range producers {
		for n := range each {
			if got := count[4*n+i]; got != 1 {
				t.Errorf("element %d of producer %d was popped %d times", n, i, got)
				return
			}
		}
	}
	if len(count) != producers*each {
		t.Errorf("%d elements popped, want %d", len(count), producers*each)
	}
}

// TestDeadline: waits end with their context, also when that is cancelled without a deadline.
func TestDeadline(t *testing.T) {
	m := newGoRegion(t, testSize).join()
	q := m.queue(t, &Options{Capacity: 2})
	p, c := mustProducer(t, q), mustConsumer(t, q)
	for _, spin := range []time.Duration{0, DefaultSpin} {
		c.SetSpin(spin)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		_, err := c.Pop(ctx)
		wantErr(t, "pop", err, context.DeadlineExceeded)
		cancel()
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(5*time.Millisecond, cancel)
		begin := time.Now()
		_, err = c.Pop(ctx)
		wantErr(t, "pop", err, context.Canceled)
		if took := time.Since(begin); took > time.Second {
			t.Errorf("took %v", took)
		}
	}
	for range 2 {
		if err := p.TryPush(q.element(1)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	wantErr(t, "push", p.Push(ctx, q.element(1)), context.DeadlineExceeded)
}

// TestDeathIsNoticed: a blocked consumer learns that the last producer died, after it has had what that
// one pushed; a producer that left, and one that is alive, are no reason.
func TestDeathIsNoticed(t *testing.T) {
	eachKind(t, func(t *testing.T, k Kind) {
		r := newGoRegion(t, testSize)
		here, there := r.join(), r.join()
		q := here.queue(t, &Options{Kind: k, Capacity: 2})
		c := mustConsumer(t, q)
		left := mustProducer(t, q)
		left.Close()
		p := mustProducer(t, there.at(t, q.off))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := c.Pop(ctx)
		wantErr(t, "pop with a live producer", err, context.DeadlineExceeded)
		if err := p.TryPush(q.element(7)); err != nil {
			t.Fatal(err)
		}
		there.die()
		if v, err := c.Pop(t.Context()); q.number(v) != 7 || err != nil {
			t.Errorf("popped %d, %v", q.number(v), err)
		}
		_, err = c.Pop(t.Context())
		wantErr(t, "pop with a dead producer", err, ErrNoProducers)
		mustProducer(t, q)
		ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err = c.Pop(ctx)
		wantErr(t, "pop with a new producer", err, context.DeadlineExceeded)
	})
}

// TestOneEnd: the single end of a queue belongs to one live process.
func TestOneEnd(t *testing.T) {
	r := newGoRegion(t, testSize)
	here, there := r.join(), r.join()
	q := here.queue(t, &Options{Kind: SPSC})
	if _, err := there.at(t, q.off).Producer(); err != nil {
		t.Fatal(err)
	}
	_, err := q.Producer()
	wantErr(t, "a second producer", err, ErrTaken)
	there.die()
	p := mustProducer(t, q)
	wantErr(t, "close", p.Close(), nil)
	wantErr(t, "second close", p.Close(), ErrDetached)
	wantErr(t, "push", p.TryPush(q.element(1)), ErrDetached)
	_, err = p.TryPushAll([]uint64{q.element(1)})
	wantErr(t, "push all", err, ErrDetached)
	c := mustConsumer(t, q)
	_, err = q.Consumer()
	wantErr(t, "a second consumer", err, ErrTaken)
	wantErr(t, "close", c.Close(), nil)
	_, err = c.TryPop()
	wantErr(t, "pop", err, ErrDetached)
	_, err = c.TryPopAll(make([]uint64, 2))
	wantErr(t, "pop all", err, ErrDetached)
}

// TestHandlesRunOut: with all handles taken by the living there is an error, and the dead make room.
func TestHandlesRunOut(t *testing.T) {
	r := newGoRegion(t, testSize)
	here, there := r.join(), r.join()
	q := here.queue(t, &Options{Handles: 3})
	mustProducer(t, q)
	mustConsumer(t, there.at(t, q.off))
	mustProducer(t, there.at(t, q.off))
	_, err := q.Consumer()
	wantErr(t, "a fourth handle", err, ErrTooMany)
	there.die()
	mustConsumer(t, q)
	mustProducer(t, q)
}

// TestClose: what is in the queue comes out, nothing more goes in.
func TestClose(t *testing.T) {
	eachKind(t, func(t *testing.T, k Kind) {
		for _, fill := range []int{0, 1, 7, 8} {
			m := newGoRegion(t, testSize).join()
			q := m.queue(t, &Options{Kind: k, Capacity: 8})
			p, c := mustProducer(t, q), mustConsumer(t, q)
			for n := range fill {
				if err := p.TryPush(q.element(n)); err != nil {
					t.Fatal(err)
				}
			}
			q.Close()
			q.Close()
			wantErr(t, "push", p.TryPush(q.element(1)), ErrClosed)
			for n := range fill {
				if v, err := c.TryPop(); q.number(v) != n || err != nil {
					t.Fatalf("popped %d, %v", q.number(v), err)
				}
				wantErr(t, "push", p.TryPush(q.element(1)), ErrClosed)
			}
			for range 3 {
				_, err := c.TryPop()
				wantErr(t, "pop", err, ErrClosed)
				_, err = c.Pop(t.Context())
				wantErr(t, "blocking pop", err, ErrClosed)
			}
			_, err := q.Producer()
			wantErr(t, "producer", err, ErrClosed)
			if !q.Closed() {
				t.Error("not closed")
			}
		}
	})
}

// TestCloseOfTheDead: a process that dies right behind the bit leaves free slots. The consumer seals them
// before it says that the queue is closed.
func TestCloseOfTheDead(t *testing.T) {
	m := newGoRegion(t, testSize).join()
	q := m.queue(t, &Options{Capacity: 8})
	p, c := mustProducer(t, q), mustConsumer(t, q)
	q.head.State.Or(StateClosed)
	_, err := c.TryPop()
	wantErr(t, "pop", err, ErrClosed)
	if p.fill(&q.slots[0], 0, slotFull|q.element(1)/Unit) {
		t.Error("a producer that was stopped before the close pushed behind it")
	}
}

// TestLatecomers: handles made at any time find their place, with true hints, old ones and nonsense.
func TestLatecomers(t *testing.T) {
	eachKind(t, func(t *testing.T, k Kind) {
		m := newGoRegion(t, testSize).join()
		q := m.queue(t, &Options{Kind: k, Capacity: 8})
		pushed, popped := 0, 0
		for round := range 300 {
			hints := []uint64{q.head.Tail.Load(), 0, 3, 8, 1 << 40, ^uint64(0), q.head.Tail.Load() + 5, uint64(round) * 977}
			q.head.Tail.Swap(hints[round%len(hints)])
			q.head.Head.Swap(hints[round*3%len(hints)])
			p, c := mustProducer(t, q), mustConsumer(t, q)
			for pushed-popped < round%9 {
				if err := p.TryPush(q.element(pushed % 1000)); err != nil {
					t.Fatalf("round %d, push of element %d with %d popped: %v", round, pushed, popped, err)
				}
				pushed++
			}
			for pushed-popped > round%5 {
				v, err := c.TryPop()
				if err != nil || q.number(v) != popped%1000 {
					t.Fatalf("round %d, element %d is %d, %v", round, popped, q.number(v), err)
				}
				popped++
			}
			if pushed == popped {
				_, err := c.TryPop()
				wantErr(t, "pop", err, ErrEmpty)
			}
			p.Close()
			c.Close()
		}
	})
}
