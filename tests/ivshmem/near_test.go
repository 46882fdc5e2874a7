package ivshmem

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/lock"
	"github.com/shmheap/shmheap/queue"
)

// term is long against what an emulated processor on a busy machine makes a process wait.
const term = 10 * time.Second

// survivor is the machine that lives: the near one.
type survivor struct {
	alloc *alloc.Allocator
	board *board
	await func(stage uint64) error // waits for the other machine
	note  func(format string, args ...any)
}

// runNear is the part of the machine that lives, in a guest.
func runNear() error {
	a, b, err := attach()
	if err != nil {
		return err
	}
	s := survivor{a, b, b.await, func(format string, args ...any) { fmt.Printf(format+"\n", args...) }}
	if err := errors.Join(s.together(), s.alone()); err != nil {
		return err
	}
	return a.Heap().Close()
}

// together is the time while both machines work. This one gets messages.
func (s *survivor) together() error {
	h, b := s.alloc.Heap(), s.board
	q, err := queue.Open(s.alloc, "queue", &queue.Options{Capacity: 1 << 10})
	if err != nil {
		return err
	}
	c, err := q.Consumer()
	if err != nil {
		return err
	}
	if err := s.await(farAttached); err != nil {
		return err
	}
	peers, err := h.Peers()
	if err != nil || len(peers) != 2 || !peers[0].Alive || !peers[1].Alive {
		return fmt.Errorf("peers %+v, %w", peers, err)
	}
	in := inbox{a: s.alloc, c: c}
	b.stage.Swap(nearReady)
	begin := time.Now()
	if err := b.work(h, s.alloc, near, func(uint64) error { return in.empty() }); err != nil {
		return err
	}
	b.stage.Swap(nearDone)
	if err := s.await(farHolds); err != nil {
		return err
	}
	s.note("%d nodes of each machine in %v", contest, time.Since(begin))
	return errors.Join(in.empty(), s.account(in.got), locked(b.mutex.TryLock(h)))
}

// account compares what both machines did with what they should have done.
func (s *survivor) account(messages uint64) error {
	if messages != contest {
		return fmt.Errorf("%d messages came from the other machine, want %d", messages, contest)
	}
	if n := s.board.count.Load(); n != 2*contest {
		return fmt.Errorf("the machines counted to %d together, want %d", n, 2*contest)
	}
	return nil
}

func locked(err error) error {
	if !errors.Is(err, lock.ErrLocked) {
		return fmt.Errorf("a mutex that the living other machine has: %w", err)
	}
	return nil
}

// inbox takes the other machine's messages and frees them. They come in order.
type inbox struct {
	a   *alloc.Allocator
	c   *queue.Consumer
	got uint64
}

func (in *inbox) empty() error {
	for {
		off, err := in.c.TryPop()
		if errors.Is(err, queue.ErrEmpty) {
			return nil
		}
		if err != nil {
			return err
		}
		m := mem.View[message](in.a.Heap().Memory(), off)
		if m.text.String() != names[far] || m.value != in.got {
			return fmt.Errorf("message %d at %#x is %q %d", in.got, off, m.text.String(), m.value)
		}
		if err := m.delete(in.a); err != nil {
			return err
		}
		in.got++
	}
}

// alone is the time behind the other machine's death: it is noticed, all that it had for itself comes back, and what it
// has allocated stays.
func (s *survivor) alone() error {
	h, b := s.alloc.Heap(), s.board
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 6*term)
	defer cancel()
	if err := b.mutex.Lock(ctx, h); !errors.Is(err, lock.ErrOwnerDied) {
		return fmt.Errorf("a mutex of the dead: %w", err)
	}
	s.note("%v behind the end of the other machine it is known to be dead; the term is %v", time.Since(begin), term)
	if err := errors.Join(b.walk(), b.mutex.MarkConsistent(h), b.mutex.Unlock(h)); err != nil {
		return err
	}
	if r, err := s.alloc.Recover(); err != nil || r.Peers != 1 || r.Caches == 0 {
		return fmt.Errorf("recovered %+v, %w", r, err)
	}
	if err := s.reuse(); err != nil {
		return err
	}
	if err := b.walk(); err != nil {
		return fmt.Errorf("behind the recovery: %w", err)
	}
	return check(s.alloc)
}

// reuse allocates from what the dead had, too, and frees it.
func (s *survivor) reuse() error {
	var nodes []*node
	for range contest {
		n, err := newNode(s.alloc, near, contest)
		if err != nil {
			return err
		}
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		if err := n.delete(s.alloc); err != nil {
			return err
		}
	}
	return nil
}

// check is the consistency check, of which not even a note is expected.
func check(a *alloc.Allocator) error {
	r := a.Check()
	var errs []error
	for _, p := range append(r.Problems, r.Notes...) {
		errs = append(errs, fmt.Errorf("check: %v", p))
	}
	return errors.Join(errs...)
}
