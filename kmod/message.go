package kmod

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/queue"
)

// Message is what kernel and program say to each other: a payload, a number and a type that mean whatever
// they agree on.
type Message struct {
	ID   uint64 // a number, for example of the request that this answers
	Type uint32 // a type
	Data []byte // the payload
}

// Messages sends and receives messages in blocks of the shared region. The payload is copied once on each
// side, and there is no call for a message. It gives the kernel blocks to fill and gets those back that it has
// read; killed, the process leaks them. One goroutine may send while another one receives.
type Messages struct {
	channel  *Channel
	memory   mem.Memory
	commands *Receiver
	fill     *Sender
	replies  *Sender
	done     *Receiver
	block    uint64
	filling  map[uint64]bool // the kernel's to fill
	sending  map[uint64]bool // to send with: true when it is the kernel's
	idle     []uint64        // to send with
}

// Messages opens the channel's four queues and gives the kernel blocks. It returns ErrBusy when another
// process has done so with blocks of another length.
func (c *Channel) Messages() (*Messages, error) {
	m := &Messages{
		channel: c, memory: c.alloc.Heap().Memory(), block: uint64(c.options.Block),
		filling: map[uint64]bool{}, sending: map[uint64]bool{},
	}
	if err := m.open(); err != nil {
		return nil, fmt.Errorf("messages of channel %d of instance %q: %w", c.number, c.instance.name, errors.Join(err, m.Close()))
	}
	return m, nil
}

func (m *Messages) open() (err error) {
	c := m.channel
	if m.commands, err = c.receiver(Command, c.options.Block); err != nil {
		return err
	}
	if m.done, err = c.receiver(Completion, c.options.Block); err != nil {
		return err
	}
	if m.replies, err = c.sender(Reply, c.options.Block); err != nil {
		return err
	}
	if m.fill, err = c.sender(Fill, c.options.Block); err != nil {
		return err
	}
	for range c.options.Blocks {
		sending, err := m.newBlock()
		if err != nil {
			return err
		}
		m.sending[sending], m.idle = false, append(m.idle, sending)
		filling, err := m.newBlock()
		if err != nil {
			return err
		}
		m.filling[filling] = true
		if err := m.fill.TrySend(filling); err != nil {
			return err
		}
	}
	return nil
}

func (m *Messages) newBlock() (uint64, error) {
	p, err := m.channel.alloc.AllocZeroed(m.block)
	if err != nil {
		return 0, err
	}
	off, ok := m.memory.Offset(p)
	if !ok {
		return 0, fmt.Errorf("block at %p: %w", p, queue.ErrOffset)
	}
	return off, nil
}

// Receive waits for the next message and appends its payload to buf. It returns ctx's error; ErrCorrupt for a
// message that is none, which is gone; and queue.ErrClosed.
func (m *Messages) Receive(ctx context.Context, buf []byte) (Message, error) {
	off, err := m.commands.Receive(ctx)
	if err != nil {
		return Message{}, err
	}
	if !m.filling[off] {
		return Message{}, fmt.Errorf("receive: %w: %#x is no block that was given to the kernel", ErrCorrupt, off)
	}
	head := *mem.View[messageArgs](m.memory, off)
	if uint64(head.Bytes) > m.block-messageHeader {
		err = fmt.Errorf("receive: %w: a message of %d bytes in a block of %d", ErrCorrupt, head.Bytes, m.block)
		head.Bytes = 0
	}
	data := append(buf, m.memory.Bytes(off+messageHeader, uint64(head.Bytes))...)
	return Message{head.ID, head.Type, data}, errors.Join(err, m.fill.Send(ctx, off))
}

// Send sends a message, and waits while all blocks are on their way. It returns ErrTooLong, ctx's error, and
// queue.ErrClosed.
func (m *Messages) Send(ctx context.Context, msg Message) error {
	if uint64(len(msg.Data)) > m.block-messageHeader {
		return fmt.Errorf("send %d bytes in blocks of %d: %w", len(msg.Data), m.block, ErrTooLong)
	}
	off, err := m.take(ctx)
	if err != nil {
		return err
	}
	*mem.View[messageArgs](m.memory, off) = messageArgs{ID: msg.ID, Type: msg.Type, Bytes: uint32(len(msg.Data))}
	copy(m.memory.Bytes(off+messageHeader, uint64(len(msg.Data))), msg.Data)
	if err := m.replies.Send(ctx, off); err != nil {
		m.idle = append(m.idle, off)
		return err
	}
	m.sending[off] = true
	return nil
}

// take returns a block to send with, which is one that has come back.
func (m *Messages) take(ctx context.Context) (uint64, error) {
	for {
		if n := len(m.idle); n > 0 {
			off := m.idle[n-1]
			m.idle = m.idle[:n-1]
			return off, nil
		}
		off, err := m.done.Receive(ctx)
		if err != nil {
			return 0, err
		}
		if m.sending[off] { // else nonsense, or a second time
			m.sending[off], m.idle = false, append(m.idle, off)
		}
	}
}

// Close closes the queues, and frees the blocks once the kernel has let go of them: when another process has
// the queues open too it does not, and they leak.
func (m *Messages) Close() error {
	var errs []error
	for _, r := range []*Receiver{m.commands, m.done} {
		if r != nil {
			errs = append(errs, m.drain(r))
			errs = append(errs, r.Close())
		}
	}
	for _, s := range []*Sender{m.fill, m.replies} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return m.forget()
}

// drain pops what is left.
func (m *Messages) drain(r *Receiver) error {
	for {
		if _, err := r.TryReceive(); errors.Is(err, queue.ErrEmpty) || errors.Is(err, queue.ErrClosed) {
			return nil
		}
	}
}

// forget empties the queues that the kernel pops and frees the blocks. The kernel keeps a queue as long as
// somebody has it open: then it may still use the blocks.
func (m *Messages) forget() error {
	for _, role := range []Role{Fill, Reply, Command, Completion} {
		q, err := queue.Open(m.channel.alloc, fmt.Sprintf("kmod.%d.%v", m.channel.number, role), nil)
		if err != nil {
			return nil // it was never made, and the blocks neither
		}
		c, err := q.Consumer()
		if err != nil {
			return err
		}
		for err == nil || errors.Is(err, queue.ErrCorrupt) {
			_, err = c.TryPop()
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
	return m.free()
}

func (m *Messages) free() error {
	var errs []error
	for _, blocks := range []map[uint64]bool{m.filling, m.sending} {
		for off := range blocks {
			errs = append(errs, m.channel.alloc.Free(m.memory.Pointer(off)))
		}
	}
	return errors.Join(errs...)
}

// Copies sends and receives messages by copies alone: the kernel copies each in and out, and no memory is
// shared. It costs a call for each message. It may be used by any number of goroutines.
type Copies struct {
	instance *Instance
	channel  uint32
	longest  int
}

// CopiesOptions say what a new channel of copies is like. The zero value is valid.
type CopiesOptions struct {
	// Order is how many messages wait each way: 1<<Order, 1 to 12. 0 means 6.
	Order int
	// Block is how many bytes the longest message has, its header of 16 included: from 32 to 65536, a multiple of
	// 8. 0 means 512.
	Block int
}

// MakeCopies makes channel n one of copies. It returns ErrBusy when it is one already, or has queues.
func (i *Instance) MakeCopies(n int, o *CopiesOptions) (*Copies, error) {
	var v CopiesOptions
	if o != nil {
		v = *o
	}
	setDefault(&v.Order, 6)
	setDefault(&v.Block, 512)
	if n < 0 || n >= MaxChannels || v.Order < 1 || v.Order > mostCopyOrder || v.Block < smallestBlock || v.Block > longestCopy {
		return nil, fmt.Errorf("channel %d of instance %q: %w: %+v", n, i.name, ErrOptions, v)
	}
	a := copiesArgs{Size: copiesSize, Channel: uint32(n), Order: uint32(v.Order), Block: uint32(v.Block)}
	if err := sys.Ioctl(i.file, iocCopies, &a); err != nil {
		return nil, wrap("make copies for instance", i.name, err)
	}
	return i.Copies(n), nil
}

// Copies returns channel n, which somebody has made one of copies. Its methods return ErrNotConnected when that is
// not so.
func (i *Instance) Copies(n int) *Copies {
	return &Copies{i, uint32(n), longestCopy}
}

// Send sends a message, and waits while there is no room. It returns ErrTooLong, ErrNotConnected and ctx's error.
func (c *Copies) Send(ctx context.Context, msg Message) error {
	if len(msg.Data) > math.MaxUint32 {
		return fmt.Errorf("send %d bytes: %w", len(msg.Data), ErrTooLong)
	}
	a := copyArgs{
		Size: copySize, Channel: c.channel, Message: messageArgs{ID: msg.ID, Type: msg.Type, Bytes: uint32(len(msg.Data))},
	}
	err := inSlices(ctx, func(deadline uint64) error {
		a.Deadline = deadline
		return sys.IoctlBytes(c.instance.file, iocSend, &a, &a.Data, msg.Data)
	})
	return wrap("send to instance", c.instance.name, err)
}

// Receive waits for the next message and puts its payload into buf, which must be long enough: a longer message
// stays, and ErrTooLong comes with its header, and with Data nil. It returns ErrCorrupt for what the kernel's side has
// sent and is no message, ErrNotConnected and ctx's error.
func (c *Copies) Receive(ctx context.Context, buf []byte) (Message, error) {
	a := copyArgs{Size: copySize, Channel: c.channel, Capacity: uint32(min(len(buf), math.MaxUint32))}
	err := inSlices(ctx, func(deadline uint64) error {
		a.Deadline = deadline
		return sys.IoctlBytes(c.instance.file, iocReceive, &a, &a.Data, buf)
	})
	msg := Message{ID: a.Message.ID, Type: a.Message.Type}
	if err != nil {
		return msg, wrap("receive from instance", c.instance.name, err)
	}
	msg.Data = buf[:min(int(a.Message.Bytes), len(buf))]
	return msg, nil
}
