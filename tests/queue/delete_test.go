package queue

import (
	"context"
	"errors"
	"testing"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/queue"
)

func init() { programs["holder"] = runHolder }

// replies opens the queue that the test deletes.
func (p place) replies() (*queue.Hands, *queue.Queue, error) {
	hands, err := queue.OpenHands(p.alloc, "hands", 4)
	if err != nil {
		return nil, nil, err
	}
	q, err := queue.Open(p.alloc, "replies", &queue.Options{Capacity: 64, Hands: hands})
	return hands, q, err
}

// runHolder receives a block and dies with it.
func runHolder() error {
	p, err := attach()
	if err != nil {
		return err
	}
	hands, q, err := p.replies()
	if err != nil {
		return err
	}
	h, err := hands.Hand()
	if err != nil {
		return err
	}
	in, err := h.Port(q)
	if err != nil {
		return err
	}
	if _, err := in.Receive(context.Background()); err != nil {
		return err
	}
	sys.KillSelf()
	return nil
}

// TestDeleteOfTheDead: what dead hands had received from a queue goes with it, recovered or not. It does not come out of
// the next queue that is made in its place, and its records are free.
func TestDeleteOfTheDead(t *testing.T) {
	for _, recovered := range []bool{true, false} {
		p := newPlace(t, 64<<20)
		hands, _, err := p.replies()
		if err != nil {
			t.Fatal(err)
		}
		h, err := hands.Hand()
		if err != nil {
			t.Fatal(err)
		}
		for range 6 { // more than there are hands
			if err := dieHolding(t, p, hands, h, recovered); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// dieHolding has a process die with a block of the queue, deletes it, and looks into the next one.
func dieHolding(t *testing.T, p place, hands *queue.Hands, h *queue.Hand, recovered bool) error {
	_, q, err := p.replies()
	if err != nil {
		return err
	}
	base := liveBlocks(t, p)
	out, err := h.Port(q)
	if err != nil {
		return err
	}
	_, err = h.Make(100)
	if err := errors.Join(err, out.TrySend()); err != nil {
		return err
	}
	if child := shmtest.Start(t, "holder", p.dir); !child.Killed() {
		t.Fatal(child.Said())
	}
	if recovered {
		if done, err := hands.Recover(); err != nil || done.Orphans != 1 {
			t.Errorf("recovered %+v, %v", done, err)
		}
	}
	if err := queue.Delete(p.alloc, "replies"); !errors.Is(err, queue.ErrInUse) {
		t.Errorf("delete with a handle: %v", err)
	}
	if err := errors.Join(out.Close(), queue.Delete(p.alloc, "replies")); err != nil {
		return err
	}
	if err := queue.Delete(p.alloc, "replies"); !errors.Is(err, heap.ErrNoRoot) {
		t.Errorf("second delete: %v", err)
	}
	_, q, err = p.replies()
	if err != nil {
		return err
	}
	in, err := h.Port(q)
	if err != nil {
		return err
	}
	if off, err := in.TryReceive(); !errors.Is(err, queue.ErrEmpty) {
		t.Errorf("received %#x, %v from a new queue", off, err)
	}
	if live, waiting := liveBlocks(t, p), hands.Waiting(); live != base || waiting != 0 {
		t.Errorf("%d blocks in use, want %d, and %d wait", live, base, waiting)
	}
	return in.Close()
}
