//go:build (amd64 || arm64) && !crashpoint && !shmheap_portable

package crash

import (
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/queue"
)

// The slots of the ledger that hold what belongs to the queue: its table of hands and itself, so that they
// are reachable, and what is found in it and in hands when a scene is settled.
const (
	handsSlot = 450
	queueSlot = 451
	foundSlot = 460
)

const queueName, handsName = "queue", "hands"

// openQueue opens the queue of a scene, nil when there is none.
func (p *party) openQueue() (*queue.Hands, *queue.Queue, error) {
	if _, err := p.heap.LoadRoot(queueName); errors.Is(err, heap.ErrNoRoot) {
		return nil, nil, nil
	}
	hs, err := queue.OpenHands(p.alloc, handsName, 0)
	if err != nil {
		return nil, nil, err
	}
	q, err := queue.Open(p.alloc, queueName, nil)
	return hs, q, err
}

// makesQueue makes a queue with hands, both large blocks that no slab has to be kept for, and enters them
// into the ledger.
func makesQueue(p *party) error {
	hs, err := queue.OpenHands(p.alloc, handsName, 200)
	if err != nil {
		return err
	}
	q, err := queue.Open(p.alloc, queueName, &queue.Options{Capacity: 4096, Handles: 6, Hands: hs})
	if err != nil {
		return err
	}
	for slot, name := range map[int]string{handsSlot: handsName, queueSlot: queueName} {
		r, err := p.heap.LoadRoot(name)
		if err != nil {
			return err
		}
		p.ledger.slots[slot].block = p.heap.Memory().Pointer(r.Offset)
	}
	return p.takeHand(hs, q)
}

func takesHand(p *party) error {
	hs, q, err := p.openQueue()
	if err != nil {
		return err
	}
	return p.takeHand(hs, q)
}

func (p *party) takeHand(hs *queue.Hands, q *queue.Queue) (err error) {
	if p.hand, err = hs.Hand(); err != nil {
		return err
	}
	p.hand.Use(p.cache)
	p.port, err = p.hand.Port(q)
	return err
}

func makesInHand(p *party) error {
	_, err := p.hand.Make(p.size)
	return err
}

func freesFromHand(p *party) error { return p.hand.Free() }

func putsFromHand(p *party) error { return p.hand.Put(p.wordOf(subject)) }

// wordOf is the offset of a slot's word.
func (p *party) wordOf(slot int) uint64 {
	root, err := p.heap.LoadRoot("ledger")
	if err != nil {
		return 0
	}
	return root.Offset + uint64(slot)*16
}

func sends(p *party) error { return p.port.TrySend() }

func receives(p *party) error {
	_, err := p.port.TryReceive()
	return err
}

// sendsOne puts one element into the queue, by whoever does it.
func sendsOne(p *party) error { return errors.Join(makesInHand(p), sends(p)) }

func recoversHands(p *party) error {
	hs, _, err := p.openQueue()
	if err != nil {
		return err
	}
	done, err := hs.Recover()
	if err == nil && done.Hands == 0 {
		err = errors.New("no hand was recovered")
	}
	return err
}

// settleQueue recovers the hands of the dead and takes everything that is in the queue, or waits to be
// received again, into the ledger. The host's hand is empty.
func (p *party) settleQueue() error {
	hs, q, err := p.openQueue()
	if err != nil || q == nil {
		return err
	}
	if _, err := hs.Recover(); err != nil {
		return err
	}
	h, err := hs.Hand()
	if err != nil {
		return err
	}
	in, err := h.Port(q)
	if err != nil {
		return err
	}
	for slot := foundSlot; ; slot++ {
		_, err := in.TryReceive()
		if errors.Is(err, queue.ErrEmpty) {
			break
		}
		if err == nil {
			err = h.Put(p.wordOf(slot))
		}
		if err != nil {
			return fmt.Errorf("element %d: %w", slot-foundSlot, err)
		}
	}
	return errors.Join(in.Close(), h.Close())
}
