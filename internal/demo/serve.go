package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

// Role is what a child process does.
type Role string

// The roles.
const (
	RoleWorker Role = "worker"
	RoleReader Role = "reader"
)

// start is the line with which the parent starts a child's work.
const start = "go"

// Hello is the first message of a child: where it sees the heap.
type Hello struct {
	PID   int    `json:"pid"`
	Peer  string `json:"peer"`
	Base  string `json:"base"`  // of the heap
	Index string `json:"index"` // the raw pointer to the Index
}

// message is one line from a child to its parent: one of the fields.
type message struct {
	Hello *Hello `json:"hello,omitempty"`
	Tally *Tally `json:"tally,omitempty"`
	Walk  *Walk  `json:"walk,omitempty"`
}

// Link is a child's end of the pipes to its parent.
type Link struct {
	out     *json.Encoder
	started chan struct{}
}

// NewLink starts to listen to the parent. When the parent closes its end, as
// the kernel does for a parent that is killed, orphaned is called, in a
// goroutine of its own; it should end the process.
func NewLink(in io.Reader, out io.Writer, orphaned func()) *Link {
	l := &Link{out: json.NewEncoder(out), started: make(chan struct{})}
	go func() {
		lines := bufio.NewScanner(in)
		if lines.Scan() && lines.Text() == start {
			close(l.started)
		}
		for lines.Scan() {
		}
		orphaned()
	}()
	return l
}

// wait returns when the parent gives the start.
func (l *Link) wait(ctx context.Context) error {
	select {
	case <-l.started:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hello reports where this process sees the heap and the index.
func (l *Link) hello(h *heap.Heap, v *view) error {
	return l.out.Encode(message{Hello: newHello(h, v)})
}

func newHello(h *heap.Heap, v *view) *Hello {
	return &Hello{
		PID:   os.Getpid(),
		Peer:  h.Peer().String(),
		Base:  fmt.Sprintf("%#x", h.Base()),
		Index: fmt.Sprintf("%p", v.index),
	}
}

// Serve is the body of a child process: it attaches to the heap by name,
// says hello, waits for the start, does its part and reports. A worker rests
// for pace in the middle of each file, with a posting in hand.
func Serve(ctx context.Context, role Role, name string, opts *heap.Options, l *Link, pace time.Duration) error {
	h, a, v, err := attach(name, opts)
	if err != nil {
		return err
	}
	m, err := serve(ctx, role, h, a, v, l, pace)
	if err = errors.Join(err, a.Close(), h.Close()); err != nil {
		return err
	}
	return l.out.Encode(m)
}

// serve does a child's part between attaching and detaching.
func serve(ctx context.Context, role Role, h *heap.Heap, a *alloc.Allocator, v *view, l *Link, pace time.Duration) (message, error) {
	if err := l.hello(h, v); err != nil {
		return message{}, err
	}
	if err := l.wait(ctx); err != nil {
		return message{}, err
	}
	if role == RoleReader {
		walk, err := read(ctx, v)
		return message{Walk: &walk}, err
	}
	c, err := a.NewCache()
	if err != nil {
		return message{}, err
	}
	w := &worker{
		view:  v,
		self:  identity{id: h.Peer(), alive: h.Alive, recover: a.Recover},
		cache: c,
		pass:  pacer(ctx, pace),
	}
	err = w.run(ctx)
	return message{Tally: &w.tally}, errors.Join(err, c.Close())
}

// pacer makes a small folder last: it rests once in each file, when the first
// posting is in hand and not yet linked, the point at which being killed
// leaves the most to settle.
func pacer(ctx context.Context, pace time.Duration) func(point) {
	if pace <= 0 {
		return nil
	}
	due := false
	return func(p point) {
		switch {
		case p == atClaimed:
			due = true
		case p == atFilled && due:
			due = false
			select {
			case <-ctx.Done():
			case <-time.After(pace):
			}
		}
	}
}
