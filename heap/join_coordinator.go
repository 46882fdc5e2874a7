package heap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
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
	writers  sync.WaitGroup
	cut      context.Context // done: all connections are closed

	guests  map[*guest]bool // connected
	round   uint64
	refusal bool // of the proposal of this round
	lost    bool // somebody who was asked in this round is gone
}

// guest is a member at the other end of a connection.
type guest struct {
	conn    *net.UnixConn
	out     chan *message // for its writer, which ends the connection when this is closed
	who     Member
	hello   *hello // not nil: it has introduced itself, and wants what we want
	asked   bool   // in this round
	pending bool   // asked, and has not answered
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
	cut, end := context.WithCancel(ctx)
	c := newCoordinator(cut, j, listener)
	c.running.Go(c.accept)
	h, err := c.agree(ctx)
	crashpoint.Hit("heap.lead.before-remove")
	_ = m.remove() // what stays is found to be stale; members that still wait make it anew
	c.close(end)
	return h, err
}

func newCoordinator(cut context.Context, j *joining, listener *net.UnixListener) *coordinator {
	return &coordinator{
		joining: j, listener: listener, events: make(chan event), done: make(chan struct{}), cut: cut,
		guests: make(map[*guest]bool),
	}
}

// close ends all conversations, when everything is said or nobody listens: end closes the connections.
// Members that were told nothing look for the heap and the lock.
func (c *coordinator) close(end context.CancelFunc) {
	close(c.done)
	_ = c.listener.Close() // the name is gone, or stale
	for g := range c.guests {
		close(g.out)
	}
	late := time.AfterFunc(writePatience, end)
	c.writers.Wait()
	late.Stop()
	end()
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
		base, err := c.candidate()
		if err != nil {
			return nil, c.fail("agreement", err)
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
	return nil, c.fail("agreement", fmt.Errorf("gave up after %d proposals", maxProposals))
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

// all returns what everyone said of themselves, this process first.
func (c *coordinator) all() []*hello {
	all := []*hello{c.hello()}
	for g := range c.guests {
		if g.hello != nil {
			all = append(all, g.hello)
		}
	}
	return all
}

// candidate returns the next base: one that lies in a gap of everyone, that nobody refused and that no
// sanitizer forbids. What a launcher has reserved for a member comes first.
func (c *coordinator) candidate() (uint64, error) {
	all := c.all()
	for _, h := range all {
		if h.short() {
			return 0, fmt.Errorf("pid %v: %w leaves %d bytes, %d are needed", h.Member, probe.ErrAddressLimit, *h.Headroom, c.wish.Size)
		}
	}
	if c.wish.Base != 0 {
		return c.wish.Base, c.given(all)
	}
	var avoid []probe.Range
	for _, h := range all {
		for _, r := range h.Reserved {
			if !slices.ContainsFunc(all, func(other *hello) bool { return !other.takes(r) }) {
				return r.Start, nil
			}
		}
		avoid = append(avoid, h.avoid()...)
	}
	for base := range probe.Candidates(c.wish.Size, &probe.Options{Key: BaseKey(c.name), Avoid: avoid, Above: c.wish.Above}) {
		return base, nil
	}
	return 0, fmt.Errorf("none of %#x bytes is left%s", c.wish.Size, sanitizersOf(all))
}

// given returns why the base that was asked for cannot be proposed, or not once more.
func (c *coordinator) given(all []*hello) error {
	for _, h := range all {
		if h.sanitized(probe.Range{Start: c.wish.Base, End: c.wish.Base + c.wish.Size}) {
			return fmt.Errorf("pid %v runs with %s, which needs the addresses at %#x", h.Member, h.Sanitizer, c.wish.Base)
		}
	}
	if c.refusal {
		return fmt.Errorf("base %#x was refused", c.wish.Base)
	}
	return nil
}

// sanitizersOf names the members that run with one: they leave few addresses.
func sanitizersOf(all []*hello) string {
	var text strings.Builder
	for _, h := range all {
		if h.Sanitizer != "" {
			fmt.Fprintf(&text, "; pid %v runs with %s", h.Member, h.Sanitizer)
		}
	}
	return text.String()
}

// propose asks everyone for a reservation, this process first.
func (c *coordinator) propose(ctx context.Context, base uint64) (outcome, error) {
	c.round++
	c.refusal, c.lost = false, false
	if err := c.reserve(base); err != nil {
		c.refusal = true
		c.refuse(c.self, err.Error())
		return refused, nil
	}
	crashpoint.Hit("heap.lead.after-reserve")
	for g := range c.guests {
		if g.asked, g.pending = g.hello != nil, g.hello != nil; g.asked {
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

// fail tells everyone that there will be no heap, and returns the error for this process. The others know who came.
func (c *coordinator) fail(code string, err error) error {
	c.abort()
	reason := err.Error() + c.story.refusals()
	for g := range c.guests {
		c.tell(g, &message{Kind: failKind, Code: code, Reason: cutText(reason)})
	}
	return c.ended(fmt.Errorf("%w: %w", failures[code], err))
}
