package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
)

// A request is a block whose first two words belong to this package, and the rest to its users. It goes to
// the server through the queue of commands and comes back, as the reply, through the asker's queue.
const (
	requestID    = 0  // offset of the word with the number that the asker gave the request
	requestReply = 8  // offset of the word with the offset of the queue that the reply goes to
	RequestBytes = 16 // RequestBytes is where the users' part begins
)

// Asker sends requests and gets replies, in whatever order they come. It moves blocks with a hand, so that
// none is lost or freed twice whoever dies: see Hand. One goroutine may use it at a time.
type Asker struct {
	hand     *Hand
	commands *Port
	replies  *Port
	last     uint64
}

// NewAsker returns an asker that sends to commands and gets its replies from replies, a queue of its own.
// Both must have been made with the table of the hand: ErrKind. Its numbers begin anywhere: a reply to one who had the queue
// before, and died, has a number that this asker has not given.
func NewAsker(h *Hand, commands, replies *Queue) (*Asker, error) {
	c, err := h.Port(commands)
	if err != nil {
		return nil, fmt.Errorf("asker: %w", err)
	}
	r, err := h.Port(replies)
	if err != nil {
		return nil, fmt.Errorf("asker: %w", err)
	}
	return &Asker{hand: h, commands: c, replies: r, last: rand.Uint64()}, nil
}

// request returns the offset of the block in the hand, in whose first two words a request may be. The record is
// shared, and may say anything.
func (h *Hand) request() (uint64, error) {
	off, g := h.Held(), h.hands.region.Geometry()
	switch {
	case h.closed:
		return 0, ErrDetached
	case off == 0:
		return 0, ErrHoldsNone
	case off%Unit != 0 || off < g.Sections.Data || off > g.Size-RequestBytes:
		return 0, fmt.Errorf("%w: no request at %#x", ErrCorrupt, off)
	}
	return off, nil
}

// Ask sends the block in the hand, which has at least RequestBytes, and returns the number by which its
// reply can be told. The errors are Port.Send's, and ErrCorrupt for a damaged hand.
func (a *Asker) Ask(ctx context.Context) (uint64, error) {
	off, err := a.hand.request()
	if err != nil {
		return 0, fmt.Errorf("ask: %w", err)
	}
	a.last++
	m := a.hand.hands.region.Memory()
	m.Word(off + requestID).StoreRelease(a.last)
	m.Word(off + requestReply).StoreRelease(a.replies.q.off)
	return a.last, a.commands.Send(ctx)
}

// Reply takes the next reply into the hand and returns the number of its request and its offset. The
// errors are Port.Receive's.
func (a *Asker) Reply(ctx context.Context) (id, off uint64, err error) {
	if off, err = a.replies.Receive(ctx); err != nil {
		return 0, 0, err
	}
	return a.hand.hands.region.Memory().Word(off + requestID).Load(), off, nil
}

// Close gives the asker's handles back.
func (a *Asker) Close() error { return errors.Join(a.commands.Close(), a.replies.Close()) }

// Answerer takes requests from a queue of commands and sends each back to where it came from. One
// goroutine may use it at a time.
type Answerer struct {
	hand     *Hand
	commands *Port
	replies  map[uint64]*Port
}

// NewAnswerer returns an answerer. The queue must have been made with the table of the hand: ErrKind.
func NewAnswerer(h *Hand, commands *Queue) (*Answerer, error) {
	c, err := h.Port(commands)
	if err != nil {
		return nil, fmt.Errorf("answerer: %w", err)
	}
	return &Answerer{hand: h, commands: c, replies: make(map[uint64]*Port)}, nil
}

// Next takes the next request into the hand and returns its offset. A request that an answerer died with
// comes again to the next one. The errors are Port.Receive's.
func (a *Answerer) Next(ctx context.Context) (uint64, error) { return a.commands.Receive(ctx) }

// Answer sends the block in the hand back, with the reply in it. It returns ErrCorrupt when the block is no
// request, or names no queue that the reply could go to, ErrHoldsNone, and Port.Send's errors; the block stays in the
// hand then.
func (a *Answerer) Answer(ctx context.Context) error {
	off, err := a.hand.request()
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	port, err := a.replyPort(a.hand.hands.region.Memory().Word(off + requestReply).Load())
	if err != nil {
		return fmt.Errorf("answer: %w: %w", ErrCorrupt, err)
	}
	return port.Send(ctx)
}

// maxReplies is how many askers' queues an answerer keeps handles on; with more it begins anew.
const maxReplies = 256

func (a *Answerer) replyPort(off uint64) (*Port, error) {
	if p, ok := a.replies[off]; ok {
		return p, nil
	}
	q, err := view(a.hand.hands.region, off)
	if err != nil {
		return nil, err
	}
	p, err := a.hand.Port(q)
	if err != nil {
		return nil, err
	}
	if len(a.replies) >= maxReplies {
		err = a.closeReplies()
	}
	a.replies[off] = p
	return p, err
}

func (a *Answerer) closeReplies() error {
	var errs []error
	for _, p := range a.replies {
		errs = append(errs, p.Close())
	}
	clear(a.replies)
	return errors.Join(errs...)
}

// Close gives the answerer's handles back.
func (a *Answerer) Close() error { return errors.Join(a.commands.Close(), a.closeReplies()) }
