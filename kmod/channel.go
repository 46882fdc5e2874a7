package kmod

import (
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/queue"
)

// ChannelOptions say what the queues of a channel are like. The zero value is valid.
type ChannelOptions struct {
	// Kind is queue.MPSC, and so one process at a time receives; or queue.MPMC. 0 means queue.MPSC.
	Kind queue.Kind
	// Capacity is the number of elements that fit into a queue. 0 means 256.
	Capacity int
	// Block is how many bytes the blocks of Messages have, their header of 16 included: from 32 to 65536, a
	// multiple of 8. 0 means 512.
	Block int
	// Blocks is how many empty ones the kernel is given, and as many are there to send with. 0 means 32,
	// or Capacity if that is less.
	Blocks int
}

func (o *ChannelOptions) orDefault() (ChannelOptions, error) {
	var v ChannelOptions
	if o != nil {
		v = *o
	}
	if v.Kind == 0 {
		v.Kind = queue.MPSC
	}
	setDefault(&v.Capacity, 256)
	setDefault(&v.Block, 512)
	setDefault(&v.Blocks, min(32, v.Capacity))
	if v.Block < smallestBlock || v.Block > longestCopy || v.Block%messageAlignment != 0 || v.Blocks < 1 || v.Blocks > v.Capacity ||
		v.Kind != queue.MPSC && v.Kind != queue.MPMC {
		return v, fmt.Errorf("%w: %+v", ErrOptions, v)
	}
	return v, nil
}

func setDefault(v *int, otherwise int) {
	if *v == 0 {
		*v = otherwise
	}
}

// Channel is a channel of an instance whose region is a heap. Its methods may be called by any number of
// goroutines.
type Channel struct {
	instance *Instance
	alloc    *alloc.Allocator
	number   int
	options  ChannelOptions
}

// Channel returns channel n of the instance, of which a is the allocator in its region. Its queues are roots
// of the heap, kmod.N.command and so on: those that are not there are made when they are needed.
func (i *Instance) Channel(a *alloc.Allocator, n int, o *ChannelOptions) (*Channel, error) {
	v, err := o.orDefault()
	if err == nil && (n < 0 || n >= MaxChannels) {
		err = ErrOptions
	}
	if err == nil && a.Heap().Base() != i.base {
		err = fmt.Errorf("%w: the heap of the allocator is at %#x, the region at %#x", ErrOptions, a.Heap().Base(), i.base)
	}
	if err != nil {
		return nil, fmt.Errorf("channel %d of instance %q: %w", n, i.name, err)
	}
	return &Channel{i, a, n, v}, nil
}

// attach opens the queue of a role, which is made if need be, and attaches it.
func (c *Channel) attach(role Role, block int) (*Attached, *queue.Queue, error) {
	q, err := queue.Open(c.alloc, fmt.Sprintf("kmod.%d.%v", c.number, role), &queue.Options{Kind: c.options.Kind, Capacity: c.options.Capacity})
	if err != nil {
		return nil, nil, err
	}
	a, err := c.instance.Attach(c.number, role, q, block)
	return a, q, err
}

func (c *Channel) receiver(role Role, block int) (*Receiver, error) {
	a, q, err := c.attach(role, block)
	if err != nil {
		return nil, err
	}
	r, err := NewReceiver(a, q)
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return r, nil
}

func (c *Channel) sender(role Role, block int) (*Sender, error) {
	a, q, err := c.attach(role, block)
	if err != nil {
		return nil, err
	}
	s, err := NewSender(a, q)
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return s, nil
}

// Commands returns a receiver of the bare offsets that the kernel pushes. It returns queue.ErrTaken when the
// channel's kind allows one and another process has it.
func (c *Channel) Commands() (*Receiver, error) { return c.receiver(Command, 0) }

// Replies returns a sender of bare offsets to the kernel.
func (c *Channel) Replies() (*Sender, error) { return c.sender(Reply, 0) }
