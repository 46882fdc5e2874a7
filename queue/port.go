package queue

import (
	"context"
	"errors"
	"fmt"
)

// Port is a hand at a queue: it sends what the hand holds and receives into it. It counts as a producer
// and as a consumer of the queue as far as it has been asked to send or receive. One goroutine may use
// a hand and its ports at a time.
type Port struct {
	hand *Hand
	q    *Queue
	out  *Producer
	in   *Consumer
}

// Port returns a port at a queue that was made with the hand's table as Options.Hands. It returns
// ErrKind for another one.
func (h *Hand) Port(q *Queue) (*Port, error) {
	if q.hands == nil || q.hands.off != h.hands.off {
		return nil, fmt.Errorf("port: %w: it does not know these hands", ErrKind)
	}
	return &Port{hand: h, q: q}, nil
}

// producer attaches the port as a producer, the first time.
func (p *Port) producer() (*Producer, error) {
	if p.out == nil {
		out, err := p.q.Producer()
		if err != nil {
			return nil, err
		}
		out.hand, out.by = p.hand, uint64(p.hand.id)<<byShift
		p.out = out
	}
	return p.out, nil
}

func (p *Port) consumer() (*Consumer, error) {
	if p.in == nil {
		in, err := p.q.Consumer()
		if err != nil {
			return nil, err
		}
		in.hand = p.hand
		in.waiter.rescue = func() { _, _ = p.hand.hands.Recover() } // who cannot, waits on
		p.in = in
	}
	return p.in, nil
}

// TrySend appends what the hand holds to the queue and leaves the hand empty. It returns ErrHoldsNone,
// ErrDetached, and the errors of Queue.Producer and Producer.TryPush; the block stays in the hand then.
func (p *Port) TrySend() error {
	held := p.hand.Held()
	switch {
	case p.hand.closed:
		return ErrDetached
	case held == 0:
		return ErrHoldsNone
	}
	out, err := p.producer()
	if err != nil {
		return err
	}
	return out.TryPush(held)
}

// Send is TrySend that waits while the queue is full: see Producer.Push.
func (p *Port) Send(ctx context.Context) error {
	if err := p.TrySend(); !errors.Is(err, ErrFull) {
		return err
	}
	return p.out.waiter.await(ctx, ErrFull, p.TrySend)
}

// TryReceive takes the first element of the queue into the hand and returns its offset; what a dead hand
// had received comes before. It returns ErrHolds, ErrDetached, and the errors of Queue.Consumer and
// Consumer.TryPop.
func (p *Port) TryReceive() (uint64, error) {
	switch {
	case p.hand.closed:
		return 0, ErrDetached
	case p.hand.record.Held.Peek() != 0:
		return 0, ErrHolds
	}
	in, err := p.consumer()
	if err != nil {
		return 0, err
	}
	if p.hand.hands.head.Orphans.Load() != 0 {
		if p.hand.adopt(p.q) {
			return p.hand.Held(), nil
		}
	}
	offset, err := in.TryPop()
	if errors.Is(err, ErrCorrupt) { // nothing that could be freed
		p.hand.record.Held.StoreRelease(0)
	}
	return offset, err
}

// Receive is TryReceive that waits while the queue is empty: see Consumer.Pop. When it has waited for a
// while it recovers what the dead held.
func (p *Port) Receive(ctx context.Context) (uint64, error) {
	offset, err := p.TryReceive()
	if !errors.Is(err, ErrEmpty) {
		return offset, err
	}
	err = p.in.waiter.await(ctx, ErrEmpty, func() error {
		offset, err = p.TryReceive()
		return err
	})
	return offset, err
}

// Close gives the port's handles back. The hand stays.
func (p *Port) Close() error {
	var errs []error
	if p.out != nil {
		errs = append(errs, p.out.Close())
	}
	if p.in != nil {
		errs = append(errs, p.in.Close())
	}
	p.out, p.in = nil, nil
	return errors.Join(errs...)
}
