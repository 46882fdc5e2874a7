package queue

import (
	"context"
	"errors"
	"fmt"
	"structs"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/mem"
)

// MailboxWords is the length of a mailbox's message in words of 64 bits: with the turn it is a line.
const MailboxWords = 7

// MailboxSize and MailboxMagic are part of the format.
const (
	MailboxSize  = 512
	MailboxMagic = 0x584f424c_494d4853 // "SHMILBOX" as stored
)

// MailboxLayout is a mailbox in the heap.
type MailboxLayout struct {
	_ structs.HostLayout

	// Turn is even when the mailbox is the client's, and odd when it is the server's. Whoever's turn it is
	// writes Words and then raises Turn with release order.
	Turn  mem.Word
	Words [MailboxWords]mem.Word // the request, and then the reply
	_     [64]byte

	Magic   uint64      // MailboxMagic, written by the creator
	Version uint32      // the constant of that name
	_       uint32      // zero
	Ready   mem.Word    // stored last, with release order
	Owners  [2]mem.Word // client and server, as in a queue's table of handles
	State   mem.Word    // StatePushSleep: the client has slept, StatePopSleep: the server has
	_       [80]byte

	Replies  Bell // the client sleeps here
	_        [112]byte
	Requests Bell // the server sleeps here
	_        [112]byte
}

// Mailbox is one request and one reply in the same line, for the lowest latency that there is: each side
// spins on the line that the other one writes. One client and one server use it at a time.
type Mailbox struct {
	region region
	box    *MailboxLayout
}

const mailboxType heap.Fingerprint = 0x4d41494c5f5f7631

// OpenMailbox returns the mailbox of that name, a root of the heap, and makes it if there is none. The
// errors are those of Open.
func OpenMailbox(a *alloc.Allocator, name string) (*Mailbox, error) {
	r, err := a.Heap().LoadRoot(name)
	if errors.Is(err, heap.ErrNoRoot) {
		r, err = createMailbox(a, name)
	}
	if err == nil && r.Type != mailboxType {
		err = fmt.Errorf("%w: %q is a %s", heap.ErrRootType, name, r.TypeName)
	}
	if err != nil {
		return nil, fmt.Errorf("open mailbox: %w", err)
	}
	return viewMailbox(a.Heap(), r.Offset)
}

func createMailbox(a *alloc.Allocator, name string) (heap.Root, error) {
	off, err := zeroedBlock(a, MailboxSize)
	if err != nil {
		return heap.Root{}, err
	}
	writeMailbox(a.Heap().Memory(), off)
	r, loaded, err := a.Heap().LoadOrStoreRoot(heap.Root{Name: name, Offset: off, Type: mailboxType, TypeName: "mailbox"})
	if err != nil || loaded {
		err = errors.Join(err, freeBlock(a, off))
	}
	return r, err
}

func writeMailbox(m mem.Memory, off uint64) {
	box := mem.View[MailboxLayout](m, off)
	box.Magic, box.Version = MailboxMagic, Version
	box.Ready.StoreRelease(ReadyValue)
}

func viewMailbox(r region, off uint64) (*Mailbox, error) {
	m, g := r.Memory(), r.Geometry()
	if off%lineSize != 0 || off < g.Sections.Data || !m.Contains(off, MailboxSize) {
		return nil, fmt.Errorf("mailbox at %#x: %w", off, ErrOffset)
	}
	box := mem.View[MailboxLayout](m, off)
	if box.Ready.Load() != ReadyValue || box.Magic != MailboxMagic || box.Version != Version {
		return nil, fmt.Errorf("mailbox at %#x: %w: magic %#x, version %d", off, ErrCorrupt, box.Magic, box.Version)
	}
	return &Mailbox{region: r, box: box}, nil
}

// side is one end of a mailbox.
type side struct {
	box    *MailboxLayout
	own    *mem.Word
	owner  uint64
	mine   uint64 // Turn&1 when it is this side's turn
	waiter waiter
	closed bool // the end has been given back, and may be another one's
	// other is the bit of State that the other side sets, otherBell where it sleeps.
	other     uint64
	otherBell *Bell
	tie       tie
}

// attach makes this process one end of the mailbox, unless a live one has it. The word of one that died stays until
// then, and tells the other side.
func (m *Mailbox) attach(role Role) (*side, error) {
	if err := mayWrite(m.region); err != nil {
		return nil, err
	}
	s := &side{box: m.box, own: &m.box.Owners[role], owner: handleOwner(role, m.region.Peer()), mine: uint64(role)}
	old := s.own.Load()
	alive, err := handleAlive(m.region, old)
	if err != nil {
		return nil, err
	}
	if alive || !s.own.CompareAndSwap(old, s.owner) {
		return nil, ErrTaken
	}
	s.waiter = waiter{role: role, bereft: m.bereft, state: &m.box.State, sticky: StatePushSleep}
	bell := &m.box.Replies
	s.other, s.otherBell = StatePopSleep, &m.box.Requests
	if role == ConsumerRole {
		s.waiter.sticky = StatePopSleep
		bell, s.other, s.otherBell = &m.box.Requests, StatePushSleep, &m.box.Replies
	}
	s.waiter.waitAt(m.region, bell)
	if s.tie, err = newTie(m.region, s.detach); err != nil {
		return nil, err
	}
	return s, nil
}

// bereft reports whether the one of the role that was there last has died.
func (m *Mailbox) bereft(role Role) (bool, error) {
	owner := m.box.Owners[role].Load()
	if r, ok := handleRole(owner); !ok || r != role {
		return false, nil
	}
	alive, err := handleAlive(m.region, owner)
	return err == nil && !alive, err
}

// usable reports whether the end is still this one's, and the words fit.
func (s *side) usable(words []uint64) error {
	switch {
	case s.closed:
		return ErrDetached
	case len(words) > MailboxWords:
		return fmt.Errorf("%w: %d words, at most %d", ErrOptions, len(words), MailboxWords)
	}
	return nil
}

var errNotMyTurn = errors.New("not this side's turn")

// await waits until it is this side's turn. A pause between two looks leaves the line to the other side until it
// has stored all of its words: who looks as fast as it can takes the line away after the first of them, and it
// has to travel twice more.
func (s *side) await(ctx context.Context) error {
	for range eagerLooks {
		if s.box.Turn.Load()&1 == s.mine {
			return nil
		}
		if s.waiter.budget <= 0 {
			break
		}
		mem.Pause(1)
	}
	return s.waiter.await(ctx, errNotMyTurn, func() error {
		if s.box.Turn.Load()&1 != s.mine {
			return errNotMyTurn
		}
		return nil
	})
}

// pass gives the line, with the words in it, to the other side.
func (s *side) pass(words []uint64) {
	for i, v := range words {
		s.box.Words[i].Publish(v)
	}
	crashpoint.Hit("queue.mailbox.after-words")
	turn := s.box.Turn.Load() + 1
	if s.box.State.Load()&s.other == 0 {
		s.box.Turn.StoreRelease(turn)
		return
	}
	s.box.Turn.Swap(turn)
	s.otherBell.ring()
}

func (s *side) read(words []uint64) {
	for i := range words {
		words[i] = s.box.Words[i].Load()
	}
}

func (s *side) close() error { return s.tie.close(s.detach) }

func (s *side) detach() error {
	if s.closed || !s.own.CompareAndSwap(s.owner, 0) {
		return ErrDetached
	}
	s.closed = true
	return nil
}

// Client asks. One goroutine may use it at a time.
type Client struct{ side *side }

// Client makes this process the mailbox's client. It returns ErrTaken as long as another one lives.
func (m *Mailbox) Client() (*Client, error) {
	s, err := m.attach(ProducerRole)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return &Client{s}, nil
}

// Call sends words, at most MailboxWords, and waits for the reply, which it puts in their place. It spins
// for a moment and then sleeps. It returns ctx's error, ErrNoConsumers when the server has died and no other one has come,
// ErrDetached after Close, and ErrOptions. A call that was given up goes on at the server's: the next Call waits for its
// reply, and throws it away. For a server that has closed its end, or has not come yet, it waits.
func (c *Client) Call(ctx context.Context, words []uint64) error {
	if err := c.side.usable(words); err != nil {
		return fmt.Errorf("call: %w", err)
	}
	if err := c.side.await(ctx); err != nil {
		return err
	}
	c.side.pass(words)
	if err := c.side.await(ctx); err != nil {
		return err
	}
	c.side.read(words)
	return nil
}

// SetSpin says how long Call looks at the line before it sleeps: see Producer.SetSpin.
func (c *Client) SetSpin(d time.Duration) { c.side.waiter.setSpin(d) }

// Close gives the end back. It returns ErrDetached when that has been done.
func (c *Client) Close() error { return c.side.close() }

// Server answers. One goroutine may use it at a time.
type Server struct{ side *side }

// Server makes this process the mailbox's server. It returns ErrTaken as long as another one lives.
func (m *Mailbox) Server() (*Server, error) {
	s, err := m.attach(ConsumerRole)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	return &Server{s}, nil
}

// Next waits for a request and copies it. A request that a server died with comes again to the next one.
// It returns ctx's error, ErrNoProducers when the client has died and no other one has come, ErrDetached after Close, and ErrOptions.
func (s *Server) Next(ctx context.Context, words []uint64) error {
	if err := s.side.usable(words); err != nil {
		return fmt.Errorf("next: %w", err)
	}
	if err := s.side.await(ctx); err != nil {
		return err
	}
	s.side.read(words)
	return nil
}

// Reply answers the request that Next returned. It returns ErrEmpty when there is none to be answered,
// ErrDetached after Close, and ErrOptions.
func (s *Server) Reply(words []uint64) error {
	if err := s.side.usable(words); err != nil {
		return fmt.Errorf("reply: %w", err)
	}
	if s.side.box.Turn.Load()&1 != s.side.mine {
		return ErrEmpty
	}
	s.side.pass(words)
	return nil
}

// SetSpin says how long Next looks at the line before it sleeps: see Producer.SetSpin.
func (s *Server) SetSpin(d time.Duration) { s.side.waiter.setSpin(d) }

// Close gives the end back. It returns ErrDetached when that has been done.
func (s *Server) Close() error { return s.side.close() }
