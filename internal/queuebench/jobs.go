package queuebench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/lock"
	"github.com/shmheap/shmheap/queue"
)

// jobs prepare loops. What they prepare is not measured.
var jobs = map[string]func(*worker) (func() error, error){
	"spsc":      func(w *worker) (func() error, error) { return w.oneByOne(queue.SPSC) },
	"mpsc":      func(w *worker) (func() error, error) { return w.oneByOne(queue.MPSC) },
	"mpmc":      func(w *worker) (func() error, error) { return w.oneByOne(queue.MPMC) },
	"batch":     (*worker).batches,
	"contend":   (*worker).contend,
	"hands":     (*worker).hands,
	"roundtrip": (*worker).roundTrip,
	"sleep":     func(w *worker) (func() error, error) { return w.blocking(0) },
	"doze":      func(w *worker) (func() error, error) { return w.blocking(queue.DefaultSpin) },
	"mailbox":   (*worker).mailbox,
	"broadcast": (*worker).broadcast,
	"mutex":     (*worker).mutex,
	"cas":       (*worker).compareAndSwaps,
	"gomutex":   (*worker).goMutex,
	"chan":      (*worker).channel,
}

func (w *worker) open(name string, k queue.Kind) (*queue.Queue, error) {
	return queue.Open(w.alloc, name, &queue.Options{Kind: k, Capacity: w.Parameter})
}

// oneByOne: worker 0 pops what the others push.
func (w *worker) oneByOne(k queue.Kind) (func() error, error) {
	q, err := w.open("queue", k)
	if err != nil {
		return nil, err
	}
	if w.Worker == 0 {
		c, err := q.Consumer()
		return func() error { return popAll(c, w.Count, w.patience()) }, err
	}
	p, err := q.Producer()
	share := w.Count / (w.Workers - 1)
	return func() error { return pushAll(p, w.first, share, w.patience()) }, err
}

// spin is what a worker with a processor of its own does when it cannot go on.
func spin() {}

// patience is what this one does: where there are more workers than processors it lets others run.
func (w *worker) patience() func() {
	if cpus, err := sys.Processors(); err == nil && w.Workers > len(cpus) {
		return sys.Yield
	}
	return spin
}

func pushAll(p *queue.Producer, first uint64, count int, wait func()) error {
	for n := 0; n < count; {
		err := p.TryPush(first + uint64(n&1023)*queue.Unit)
		if err == nil {
			n++
		} else if !errors.Is(err, queue.ErrFull) {
			return err
		} else {
			wait()
		}
	}
	return nil
}

func popAll(c *queue.Consumer, count int, wait func()) error {
	for n := 0; n < count; {
		_, err := c.TryPop()
		if err == nil {
			n++
		} else if !errors.Is(err, queue.ErrEmpty) {
			return err
		} else {
			wait()
		}
	}
	return nil
}

const batchSize = 32

func (w *worker) batches() (func() error, error) {
	q, err := w.open("queue", queue.SPSC)
	if err != nil {
		return nil, err
	}
	var batch [batchSize]uint64
	for i := range batch {
		batch[i] = w.first + uint64(i)*queue.Unit
	}
	if w.Worker == 0 {
		c, err := q.Consumer()
		return func() error {
			return batchesOf(w.Count, queue.ErrEmpty, func() (int, error) { return c.TryPopAll(batch[:]) })
		}, err
	}
	p, err := q.Producer()
	return func() error {
		return batchesOf(w.Count, queue.ErrFull, func() (int, error) {
			return p.TryPushAll(batch[:])
		})
	}, err
}

func batchesOf(count int, busy error, step func() (int, error)) error {
	for n := 0; n < count; {
		got, err := step()
		n += got
		if err != nil && !errors.Is(err, busy) {
			return err
		}
	}
	return nil
}

// contend: two producers fill a queue that one of them empties in between, which is not measured.
func (w *worker) contend() (func() error, error) {
	q, err := w.open("queue", queue.MPMC)
	if err != nil {
		return nil, err
	}
	p, err := q.Producer()
	c, err2 := q.Consumer()
	return func() error {
		for w.took = 0; w.rounds < contendRounds; {
			w.together()
			begin := time.Now()
			if err := pushAll(p, w.first, w.Parameter/2, spin); err != nil {
				return err
			}
			w.together()
			w.took += time.Since(begin)
			w.rounds++
			if w.Worker == 0 {
				if err := popAll(c, w.Parameter, spin); err != nil {
					return err
				}
			}
		}
		return nil
	}, errors.Join(err, err2)
}

// contendRounds is how often the queue is filled.
const contendRounds = 16

// together waits until both workers are here.
func (w *worker) together() {
	word := w.heap.Memory().Word(w.Board + 256)
	w.meetings += 2
	word.Add(1)
	for word.Load() < w.meetings {
	}
}

func (w *worker) hands() (func() error, error) {
	hs, err := queue.OpenHands(w.alloc, "hands", 0)
	if err != nil {
		return nil, err
	}
	q, err := queue.Open(w.alloc, "queue", &queue.Options{Capacity: w.Parameter, Hands: hs})
	if err != nil {
		return nil, err
	}
	h, err := hs.Hand()
	if err != nil {
		return nil, err
	}
	cache, err := w.alloc.NewCache()
	if err != nil {
		return nil, err
	}
	h.Use(cache)
	port, err := h.Port(q)
	return func() error {
		for range w.Count {
			if err := handOn(w, h, port); err != nil {
				return err
			}
		}
		return nil
	}, err
}

func handOn(w *worker, h *queue.Hand, port *queue.Port) error {
	if w.Worker == 0 {
		if _, err := port.Receive(context.Background()); err != nil {
			return err
		}
		return h.Free()
	}
	if _, err := h.Make(64); err != nil {
		return err
	}
	return port.Send(context.Background())
}

// ends are a worker's ends of two queues: worker 0 asks and worker 1 answers.
func (w *worker) ends() (out *queue.Producer, in *queue.Consumer, err error) {
	there, err := w.open("there", queue.SPSC)
	back, err2 := w.open("back", queue.SPSC)
	if err := errors.Join(err, err2); err != nil {
		return nil, nil, err
	}
	if w.Worker == 1 {
		there, back = back, there
	}
	out, err = there.Producer()
	in, err2 = back.Consumer()
	return out, in, errors.Join(err, err2)
}

func (w *worker) roundTrip() (func() error, error) {
	out, in, err := w.ends()
	return func() error {
		if w.Worker == 1 {
			for range w.Count {
				if err := errors.Join(popAll(in, 1, spin), pushAll(out, w.first, 1, spin)); err != nil {
					return err
				}
			}
			return nil
		}
		for range w.Count {
			if err := pushAll(out, w.first, 1, spin); err != nil {
				return err
			}
			if err := popAll(in, 1, spin); err != nil {
				return err
			}
		}
		return nil
	}, err
}

func (w *worker) blocking(spin time.Duration) (func() error, error) {
	out, in, err := w.ends()
	if err != nil {
		return nil, err
	}
	in.SetSpin(spin)
	ctx := context.Background()
	return func() error {
		for range w.Count {
			if w.Worker == 0 {
				if err := out.Push(ctx, w.first); err != nil {
					return err
				}
			}
			if _, err := in.Pop(ctx); err != nil {
				return err
			}
			if w.Worker == 1 {
				if err := out.Push(ctx, w.first); err != nil {
					return err
				}
			}
		}
		return nil
	}, nil
}

func (w *worker) mailbox() (func() error, error) {
	box, err := queue.OpenMailbox(w.alloc, "mailbox")
	if err != nil {
		return nil, err
	}
	var words [2]uint64
	ctx := context.Background()
	if w.Worker == 0 {
		c, err := box.Client()
		return func() error {
			c.SetSpin(time.Second)
			for range w.Count {
				if err := c.Call(ctx, words[:]); err != nil {
					return err
				}
			}
			return nil
		}, err
	}
	s, err := box.Server()
	return func() error {
		s.SetSpin(time.Second)
		for range w.Count {
			if err := s.Next(ctx, words[:]); err != nil {
				return err
			}
			words[0]++
			if err := s.Reply(words[:]); err != nil {
				return err
			}
		}
		return nil
	}, err
}

// broadcast: worker 0 writes and the other one, if there is one, reads.
func (w *worker) broadcast() (func() error, error) {
	ring, err := queue.OpenBroadcast(w.alloc, "broadcast", &queue.BroadcastOptions{Capacity: w.Parameter})
	if err != nil {
		return nil, err
	}
	if w.Worker == 1 {
		r := ring.Reader()
		return func() error { return readAll(r, uint64(w.Count)) }, nil
	}
	writer, err := ring.Writer()
	return func() error {
		for n := range uint64(w.Count) {
			if err := writer.Write(n, n, n, n, n, n, n); err != nil {
				return err
			}
		}
		return nil
	}, err
}

func readAll(r *queue.Reader, count uint64) error {
	var record [7]uint64
	for total := uint64(0); total < count; {
		lost, err := r.TryRead(record[:])
		if errors.Is(err, queue.ErrEmpty) {
			continue
		}
		if total += lost + 1; err != nil || record[0] != total-1 {
			return fmt.Errorf("record %d is %d: %w", total-1, record[0], err)
		}
	}
	return nil
}

func (w *worker) mutex() (func() error, error) {
	m, err := newMutex(w)
	ctx := context.Background()
	return func() error {
		for range w.Count {
			if err := m.Lock(ctx, w.heap); err != nil {
				return err
			}
			if err := m.Unlock(w.heap); err != nil {
				return err
			}
		}
		return nil
	}, err
}

func (w *worker) compareAndSwaps() (func() error, error) {
	word := w.heap.Memory().Word(w.Board + 128)
	return func() error {
		for range w.Count {
			if !word.CompareAndSwap(0, 1) || !word.CompareAndSwap(1, 0) {
				return lock.ErrCorrupt
			}
		}
		return nil
	}, nil
}

func (w *worker) goMutex() (func() error, error) {
	m, inside := new(sync.Mutex), 0
	return func() error {
		for range w.Count {
			m.Lock()
			inside++
			m.Unlock()
		}
		return nil
	}, nil
}

func (w *worker) channel() (func() error, error) {
	c := make(chan uint64, w.Parameter)
	return func() error {
		go func() {
			for n := range w.Count {
				c <- uint64(n)
			}
		}()
		for range w.Count {
			<-c
		}
		return nil
	}, nil
}
