//go:build (amd64 || arm64) && !crashpoint && !shmheap_portable

package crash

import (
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/queue"
)

// A queue of one producer and one consumer, a large block, with bare elements: number n is offset n*8 of
// the heap's data. There are streamBefore in it, and streamBatch more are pushed or that many popped.
const (
	streamName   = "stream"
	streamSlot   = 454
	streamSlots  = 16384
	streamBefore = 100
	streamBatch  = 40
)

func (p *party) number(n int) uint64 { return p.heap.Geometry().Sections.Data + uint64(n)*queue.Unit }

func makesStream(p *party) error {
	q, err := queue.Open(p.alloc, streamName, &queue.Options{Kind: queue.SPSC, Capacity: streamSlots, Handles: 2})
	if err != nil {
		return err
	}
	r, err := p.heap.LoadRoot(streamName)
	if err != nil {
		return err
	}
	p.ledger.slots[streamSlot].block = p.heap.Memory().Pointer(r.Offset)
	out, err := q.Producer()
	if err != nil {
		return err
	}
	for n := range streamBefore {
		if err := out.TryPush(p.number(n)); err != nil {
			return err
		}
	}
	return out.Close()
}

func opensStream(p *party) error {
	q, err := queue.Open(p.alloc, streamName, nil)
	if err != nil {
		return err
	}
	p.out, err = q.Producer()
	p.in, _ = q.Consumer()
	for i := range p.batch {
		p.batch[i] = p.number(streamBefore + i)
	}
	return err
}

func pushesAll(p *party) error {
	n, err := p.out.TryPushAll(p.batch[:])
	if err == nil && n != streamBatch {
		err = fmt.Errorf("%d were pushed", n)
	}
	return err
}

func pushesOne(p *party) error { return p.out.TryPush(p.batch[0]) }

func popsAll(p *party) error {
	n, err := p.in.TryPopAll(p.batch[:])
	if err == nil && (n == 0 || p.batch[0] != p.number(0) || p.batch[n-1] != p.number(n-1)) {
		err = fmt.Errorf("%d were popped: %#x", n, p.batch)
	}
	return err
}

func popsOne(p *party) error {
	v, err := p.in.TryPop()
	if err == nil && v != p.number(0) {
		err = fmt.Errorf("popped %#x", v)
	}
	return err
}

// settleStream wants what is there to be all of it, in its order, but for what the dead one had popped or had not
// pushed yet; and both ends to be of use.
func (p *party) settleStream() error {
	if _, err := p.heap.LoadRoot(streamName); errors.Is(err, heap.ErrNoRoot) {
		return nil
	}
	q, err := queue.Open(p.alloc, streamName, nil)
	if err != nil {
		return err
	}
	in, err := q.Consumer()
	out, err2 := q.Producer()
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	first, last := -1, -1
	for {
		v, err := in.TryPop()
		if errors.Is(err, queue.ErrEmpty) {
			break
		}
		n := int(v-p.number(0)) / queue.Unit
		if err != nil || first >= 0 && n != last+1 {
			return fmt.Errorf("element %d behind element %d: %w", n, last, err)
		}
		if first < 0 {
			first = n
		}
		last = n
	}
	if first < 0 || first > streamBatch || last < streamBefore-1 || first > 0 && last >= streamBefore {
		return fmt.Errorf("elements %d to %d are left", first, last)
	}
	if err := out.TryPush(p.number(7)); err != nil {
		return err
	}
	if v, err := in.TryPop(); err != nil || v != p.number(7) {
		return fmt.Errorf("popped %#x: %w", v, err)
	}
	return errors.Join(in.Close(), out.Close())
}
