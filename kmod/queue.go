package kmod

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/queue"
)

// Role is what a queue of a channel is for.
type Role uint32

// Roles of queues.
const (
	Command    Role = 0 // the kernel pushes, programs pop
	Reply      Role = 1 // programs push, the kernel pops
	Fill       Role = 2 // programs push empty blocks, the kernel pops
	Completion Role = 3 // the kernel pushes blocks that it has read, programs pop
)

var roleNames = []string{"command", "reply", "fill", "completion"}

// String returns the role's name.
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return fmt.Sprintf("role %d", uint32(r))
}

// Attached is a queue that the kernel has the other end of. The kernel lets go of it when all descriptors of it
// are closed.
type Attached struct {
	file *os.File
	name string
}

// Attach gives a queue in the instance's region to the kernel, or opens it once more. It must be made without
// hands, and be of a kind that lets the kernel in beside the program's producers or consumers. block is how
// long the blocks are that travel in it, 0 for bare offsets. It returns ErrBusy when the channel has another
// queue in that role.
func (i *Instance) Attach(channel int, role Role, q *queue.Queue, block int) (*Attached, error) {
	name := fmt.Sprintf("%s.%d.%v", i.name, channel, role)
	if channel < 0 || channel >= MaxChannels || block < 0 || block > longestCopy {
		return nil, fmt.Errorf("attach queue %q: %w: blocks of %d bytes", name, ErrOptions, block)
	}
	a := queueArgs{
		Size: queueSize, Flags: flagNonblock, Offset: q.Offset(), Channel: uint32(channel), Role: uint32(role), Block: uint32(block),
	}
	if err := sys.Ioctl(i.file, iocQueue, &a); err != nil {
		return nil, wrap("attach queue", name, err)
	}
	return &Attached{sys.NewFile(a.FD, name), name}, nil
}

// File returns the descriptor, which can be polled: readable when there may be something to pop, writable when
// there may be room. It stays the Attached's.
func (a *Attached) File() *os.File { return a.file }

// Kick wakes the kernel's side, whether it has asked for that or not.
func (a *Attached) Kick() error { return wrap("kick", a.name, sys.IoctlNone(a.file, iocKick)) }

// Wait waits, with a thread, until there may be something to pop, or room. Receive and Send need none.
func (a *Attached) Wait(ctx context.Context) error {
	args := waitArgs{Size: waitSize}
	return wrap("wait for", a.name, inSlices(ctx, func(deadline uint64) error {
		args.Deadline = deadline
		return sys.Ioctl(a.file, iocWait, &args)
	}))
}

// Signal makes the kernel signal an eventfd, such as the NotifyFile of a queue.Watch, when the queue's
// watcher has asked for it. nil takes it away.
func (a *Attached) Signal(event *os.File) error {
	args := eventFDArgs{Size: eventFDSize, FD: -1}
	if event == nil {
		return wrap("signal", a.name, sys.Ioctl(a.file, iocEventFD, &args))
	}
	conn, err := event.SyscallConn()
	if err != nil {
		return wrap("signal", a.name, err)
	}
	var inner error
	err = conn.Control(func(fd uintptr) {
		args.FD = int32(fd)
		inner = sys.Ioctl(a.file, iocEventFD, &args)
	})
	return wrap("signal", a.name, errors.Join(err, inner))
}

// QueueStat is what the kernel did with a queue since it was attached.
type QueueStat struct {
	Pushed   uint64 // elements
	Popped   uint64 // elements
	Full     uint64 // pushes for which there was no room
	Bad      uint64 // elements and blocks with nonsense in them, dropped
	Lost     uint64 // times that the slots did not bear out where the kernel was
	Wakes    uint64 // of programs
	Kicks    uint64 // of the kernel
	Stranded uint64 // blocks that could not be given back
}

// Stat returns what the kernel did.
func (a *Attached) Stat() (QueueStat, error) {
	s := queueStatArgs{Size: queueStatSize}
	if err := sys.Ioctl(a.file, iocQStat, &s); err != nil {
		return QueueStat{}, wrap("describe", a.name, err)
	}
	return QueueStat{s.Pushed, s.Popped, s.Full, s.Bad, s.Lost, s.Wakes, s.Kicks, s.Stranded}, nil
}

// Close closes the descriptor.
func (a *Attached) Close() error { return a.file.Close() }

// Receiver pops what the kernel pushes. One goroutine may use it at a time.
type Receiver struct {
	*Attached
	consumer *queue.Consumer
}

// NewReceiver returns a receiver on a queue that is attached as Command or Completion, which it takes over.
func NewReceiver(a *Attached, q *queue.Queue) (*Receiver, error) {
	c, err := q.Consumer()
	if err != nil {
		return nil, err
	}
	return &Receiver{a, c}, nil
}

// TryReceive returns the next offset, or queue.ErrEmpty, queue.ErrClosed, or queue.ErrCorrupt as
// queue.Consumer.TryPop does.
func (r *Receiver) TryReceive() (uint64, error) { return r.consumer.TryPop() }

// Receive is TryReceive that waits while the queue is empty, and returns ctx's error.
func (r *Receiver) Receive(ctx context.Context) (offset uint64, err error) {
	if offset, err = r.consumer.TryPop(); !errors.Is(err, queue.ErrEmpty) {
		return offset, err
	}
	err = await(ctx, r.file, sys.Readable, queue.ErrEmpty, func() error {
		offset, err = r.consumer.TryPop()
		return err
	})
	return offset, err
}

// Close gives the handle back and closes the descriptor.
func (r *Receiver) Close() error { return errors.Join(r.consumer.Close(), r.Attached.Close()) }

// Sender pushes what the kernel pops. One goroutine may use it at a time.
type Sender struct {
	*Attached
	producer *queue.Producer
}

// NewSender returns a sender on a queue that is attached as Reply or Fill, which it takes over.
func NewSender(a *Attached, q *queue.Queue) (*Sender, error) {
	p, err := q.Producer()
	if err != nil {
		return nil, err
	}
	bell, err := sys.Duplicate(a.file)
	if err == nil {
		err = p.Notify(bell) // what is written to it kicks the kernel
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return &Sender{a, p}, nil
}

// TrySend appends an offset. It returns queue.ErrFull, queue.ErrClosed or queue.ErrOffset.
func (s *Sender) TrySend(offset uint64) error { return s.producer.TryPush(offset) }

// Send is TrySend that waits while the queue is full, and returns ctx's error.
func (s *Sender) Send(ctx context.Context, offset uint64) error {
	if err := s.producer.TryPush(offset); !errors.Is(err, queue.ErrFull) {
		return err
	}
	return await(ctx, s.file, sys.Writable, queue.ErrFull, func() error { return s.producer.TryPush(offset) })
}

// Close gives the handle back and closes the descriptors.
func (s *Sender) Close() error { return errors.Join(s.producer.Close(), s.Attached.Close()) }
