package queue

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/shmheap/shmheap/internal/sys"
)

// Watch is a queue as a descriptor that becomes readable: for epoll, poll, and whatever else waits for
// many things at once, Go's own poller included. The consumer's process makes it, and every producer must
// have been given it: send the File of it, by SendFile over a unix socket, by inheritance or through
// exec.Cmd.ExtraFiles, and Producer.Notify takes it there.
//
//	for {
//		ready, err := w.Arm()         // nothing pushed from here on goes unnoticed
//		if !ready { wait until w.File() is readable; w.Clear() }
//		pop until ErrEmpty
//	}
type Watch struct {
	c     *Consumer
	event *sys.Event
}

// Watch returns a pollable form of the consumer's queue. A queue has one at a time: the last one made.
func (c *Consumer) Watch() (*Watch, error) {
	if c.q == nil {
		return nil, ErrDetached
	}
	e, err := sys.NewEvent()
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	c.q.head.State.Or(StatePopSleep) // long before the first Arm, for producers that look before they push
	return &Watch{c: c, event: e}, nil
}

// File returns the descriptor that becomes readable. It stays the Watch's: it is not to be read or closed.
func (w *Watch) File() *os.File { return w.event.Reader() }

// NotifyFile returns the descriptor for producers. It stays the Watch's.
func (w *Watch) NotifyFile() *os.File { return w.event.Writer() }

// Arm asks for the descriptor to become readable at the next push, or when a producer closes its handle, and reports
// whether there is something to pop already, or never will be. Nobody writes for a producer that was killed, and the only
// producer of a queue does not for an element that it was about to push when the queue's first Watch was made: wait with
// a time-out of your choice.
func (w *Watch) Arm() (ready bool, err error) {
	q := w.c.q
	if q == nil {
		return false, ErrDetached
	}
	q.head.State.Or(StatePopSleep)
	q.head.Watch.Swap(1)
	if !w.c.hasMore() {
		return q.Closed(), nil
	}
	return true, nil
}

// Clear makes the descriptor unreadable again. It does not wait.
func (w *Watch) Clear() error { return w.event.Clear() }

// Wait waits in Go's poller until the descriptor is readable, and clears it. It returns os.ErrDeadlineExceeded
// after a deadline that was set on File, and os.ErrClosed after Close.
func (w *Watch) Wait() error { return w.event.Wait() }

// Close closes the descriptors here. Those that producers have stay theirs.
func (w *Watch) Close() error { return w.event.Close() }

// Notify makes the producer write to f, which is a Watch's NotifyFile, when the watcher has asked for it. The
// producer's Close does so too, and closes f: after Queue.Close that tells the watcher.
func (p *Producer) Notify(f *os.File) error {
	if p.q == nil {
		return errors.Join(ErrDetached, f.Close())
	}
	if p.notify != nil {
		_ = p.notify.Close() // the one before
	}
	p.notify = f
	return nil
}

// tell writes to the descriptor if somebody has asked for it. Who cannot read any more misses nothing.
func (p *Producer) tell() {
	if p.notify != nil && p.q.head.Watch.Load() != 0 && p.q.head.Watch.Swap(0) != 0 {
		_ = sys.SignalEvent(p.notify)
	}
}

// SendFile sends a descriptor over a unix socket.
func SendFile(conn *net.UnixConn, f *os.File) error { return sys.SendFile(conn, f) }

// ReceiveFile receives a descriptor that SendFile has sent. The caller closes it.
func ReceiveFile(conn *net.UnixConn) (*os.File, error) { return sys.ReceiveFile(conn) }
