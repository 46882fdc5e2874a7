package heap

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/probe"
)

// helloPatience is how long a connection may stay without HELLO, and writePatience how long a member
// may leave what it is told unread. Whoever is thrown out for that connects again when it can.
const (
	helloPatience = 10 * time.Second
	writePatience = 5 * time.Second
)

// coordinator is a joining process that holds the lock. One goroutine, that of lead, owns all fields;
// the others only send events.
type coordinator struct {
	*joining
	listener *net.UnixListener
	events   chan event
	done     chan struct{} // closed at the end: nobody takes events any more
	running  sync.WaitGroup

	guests  map[*guest]bool // connected
	round   uint64
	refusal bool // of the proposal of this round
	lost    bool // somebody who was asked in this round is gone
}

// guest is a member at the other end of a connection.
type guest struct {
	conn    *net.UnixConn
	who     Member
	hello   bool          // it has introduced itself, and wants what we want
	avoid   []probe.Range // where it has no room, or refused
	asked   bool          // in this round
	pending bool          // asked, and has not answered
}

// event is something that a guest did: it came (neither message nor error), said something, or is gone.
type event struct {
	from    *guest
	message *message
	err     error
}

// lead runs the rendezvous. It returns errAgain when the heap turns out to be there.
func (j *joining) lead(ctx context.Context, m *meeting) (*Heap, error) {
	crashpoint.Hit("heap.lead.after-lock")
	if f, err := j.at.open(j.dir); !errors.Is(err, ErrNotExist) {
		if err == nil { // made by a coordinator that died before it could remove the rendezvous
			err = errors.Join(f.Close(), m.remove())
		}
		return nil, errors.Join(err, errAgain)
	}
	listener, err := m.listen()
	if err != nil {
		return nil, err
	}
	crashpoint.Hit("heap.lead.after-listen")
	c := &coordinator{
		joining: j, listener: listener, events: make(chan event), done: make(chan struct{}), guests: make(map[*guest]bool),
	}
	c.running.Go(c.accept)
	h, err := c.agree(ctx)
	crashpoint.Hit("heap.lead.before-remove")
	_ = m.remove() // what stays is found to be stale; members that still wait make it anew
	c.close()
	return h, err
}

// close ends all conversations. Members that were told nothing look for the heap and the lock.
func (c *coordinator) close() {
	close(c.done)
	_ = c.listener.Close() // the name is gone, or stale
	for g := range c.guests {
		_ = g.conn.Close()
	}
	c.running.Wait()
}

// outcome of a proposal.
type outcome int

const (
	agreed  outcome = iota // everyone holds a reservation
	refused                // somebody cannot
	lost                   // somebody is gone
)

// agree proposes bases until one is taken by all, and creates the heap there.
func (c *coordinator) agree(ctx context.Context) (*Heap, error) {
	c.announce()
	for proposals := 0; proposals < maxProposals; {
		if err := c.gather(ctx); err != nil {
			return nil, err
		}
		crashpoint.Hit("heap.lead.after-gather")
		base, ok := c.candidate()
		if !ok {
			return nil, c.fail("agreement", fmt.Errorf("%w: none of %#x bytes is left", ErrNoAgreement, c.wish.Size))
		}
		result, err := c.propose(ctx, base)
		switch {
		case err != nil:
			return nil, err
		case result == agreed:
			return c.commit()
		case result == refused:
			proposals++
		}
	}
	return nil, c.fail("agreement", fmt.Errorf("%w: gave up after %d proposals", ErrNoAgreement, maxProposals))
}

// gather waits until there are enough members.
func (c *coordinator) gather(ctx context.Context) error {
	for c.present() < c.wish.Members {
		if err := c.next(ctx); err != nil {
			return err
		}
	}
	return nil
}

// next handles one event.
func (c *coordinator) next(ctx context.Context) error {
	select {
	case e := <-c.events:
		c.handle(e)
		return nil
	case <-ctx.Done():
		for g := range c.guests {
			if g.pending {
				c.story.Silent = append(c.story.Silent, g.who)
			}
		}
		return c.ended(context.Cause(ctx))
	}
}

// candidate returns the next base: one that lies in a gap of everyone and that nobody refused.
func (c *coordinator) candidate() (base uint64, ok bool) {
	avoid := c.hello().avoid()
	for g := range c.guests {
		avoid = append(avoid, g.avoid...)
	}
	if c.wish.Base != 0 {
		return c.wish.Base, c.round == 0 || !c.refusal
	}
	for base := range probe.Candidates(c.wish.Size, &probe.Options{Key: BaseKey(c.name), Avoid: avoid, Above: c.wish.Above}) {
		return base, true
	}
	return 0, false
}

// avoid returns where a member has no room, and what it refused.
func (h *hello) avoid() []probe.Range {
	avoid := append([]probe.Range(nil), h.Refused...)
	if !h.Known {
		return avoid
	}
	var end uint64
	for _, gap := range h.Gaps { // not necessarily ascending, coming from elsewhere: then more is avoided
		avoid = append(avoid, probe.Range{Start: end, End: gap.Start})
		end = max(end, gap.End)
	}
	return append(avoid, probe.Range{Start: end, End: math.MaxUint64})
}

// propose asks everyone for a reservation, this process first.
func (c *coordinator) propose(ctx context.Context, base uint64) (outcome, error) {
	c.round++
	c.refusal, c.lost = false, false
	if err := c.reserve(base); err != nil {
		c.refuse(c.self, err.Error())
		return refused, nil
	}
	crashpoint.Hit("heap.lead.after-reserve")
	for g := range c.guests {
		if g.asked, g.pending = g.hello, g.hello; g.asked {
			c.tell(g, &message{Kind: proposeKind, Round: c.round, Base: base})
		}
	}
	crashpoint.Hit("heap.lead.after-propose")
	err := c.collect(ctx)
	if err == nil && !c.refusal && !c.lost {
		return agreed, nil
	}
	c.abort()
	if c.refusal {
		return refused, err
	}
	return lost, err
}

// collect waits for the answers, and takes note of what has happened until then.
func (c *coordinator) collect(ctx context.Context) error {
	for c.anyPending() && !c.refusal && !c.lost {
		if err := c.next(ctx); err != nil {
			return err
		}
	}
	for {
		select {
		case e := <-c.events:
			c.handle(e)
		default:
			return nil
		}
	}
}

func (c *coordinator) anyPending() bool {
	for g := range c.guests {
		if g.pending {
			return true
		}
	}
	return false
}

// abort takes the proposal back.
func (c *coordinator) abort() {
	c.release()
	for g := range c.guests {
		if g.asked {
			g.asked, g.pending = false, false
			c.tell(g, &message{Kind: abortKind, Round: c.round})
		}
	}
	crashpoint.Hit("heap.lead.after-abort")
}

// commit creates the heap over the reservation. From the moment it has its name the others may open it.
func (c *coordinator) commit() (*Heap, error) {
	crashpoint.Hit("heap.lead.after-votes")
	o := Options{
		Size: c.wish.Size, MaxPeers: c.wish.MaxPeers, MaxRoots: c.wish.MaxRoots, MaxCaches: c.wish.MaxCaches,
		reservation: c.reservation,
	}
	h, err := createIn(c.dir, c.at, c.name, &o)
	if errors.Is(err, ErrExist) { // somebody who does not take part was quicker
		c.release() // the attempt may have used it up
		return nil, errAgain
	}
	if err != nil {
		c.fail("create", err)
		return nil, err
	}
	c.reservation = nil // it is the heap's
	crashpoint.Hit("heap.lead.after-create")
	for g := range c.guests {
		c.tell(g, &message{Kind: commitKind})
		crashpoint.Hit("heap.lead.after-commit")
	}
	return h, nil
}

// fail tells everyone that there will be no heap, and returns the error for this process.
func (c *coordinator) fail(code string, err error) error {
	c.abort()
	told := c.ended(err)
	for g := range c.guests {
		c.tell(g, &message{Kind: failKind, Code: code, Reason: cutText(told.Error())})
	}
	return told
}
