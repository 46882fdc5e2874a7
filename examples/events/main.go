// Command events has the kernel write down each program that is started, in blocks of a shared heap that raw pointers
// link. There is no module and no copy: readers follow what a BPF program has linked.
//
//	go run ./examples/events record &     takes CAP_BPF and CAP_PERFMON, and Linux 6.10
//	go run ./examples/events show         takes nothing, in any number of processes
//	go run ./examples/events remove
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/kmod/arena"
	"github.com/shmheap/shmheap/queue"
)

const name = "example-events"

func options() *heap.Options { return &heap.Options{Size: 64 << 20, Kernel: arena.New(nil)} }

func main() {
	commands := map[string]func() error{
		"record": record, "show": show, "remove": func() error { return heap.Remove(name, options()) },
	}
	if len(os.Args) != 2 || commands[os.Args[1]] == nil {
		log.Fatal("usage: events record | show | remove")
	}
	if err := commands[os.Args[1]](); err != nil {
		log.Fatal(err)
	}
}

// record lets the kernel record until it is interrupted.
func record() (err error) {
	h, err := heap.Create(name, options())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	a, err := alloc.Open(h)
	if err != nil {
		return err
	}
	events, err := alloc.New[arena.Log](a)
	if err == nil {
		err = alloc.StoreRoot(a, "events", events)
	}
	if err != nil {
		return err
	}
	// Programs cannot allocate: they take blanks from a queue, which this process keeps filled.
	blanks, err := queue.Open(a, "blanks", &queue.Options{Capacity: 4096})
	if err != nil {
		return err
	}
	root, err := h.LoadRoot("events")
	if err != nil {
		return err
	}
	p, err := queue.PusherOf[arena.Event](blanks)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := fill(a, p); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r, err := arena.NewRecorder(h, "sched_process_exec", blanks, root.Offset)
	if err != nil {
		return err
	}
	fmt.Println("recording")
	for err == nil && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
		err = fill(a, p)
	}
	return errors.Join(err, r.Close())
}

// fill fills the queue with blanks.
func fill(a *alloc.Allocator, p queue.Pusher[arena.Event]) error {
	for {
		e, err := alloc.New[arena.Event](a)
		if err != nil {
			return err
		}
		if err := p.TryPush(e); err != nil {
			if errors.Is(err, queue.ErrFull) {
				err = nil
			}
			return errors.Join(err, alloc.Delete(a, e))
		}
	}
}

// show follows the pointers.
func show() (err error) {
	h, err := heap.Open(name, options())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	a, err := alloc.Open(h)
	if err != nil {
		return err
	}
	events, err := alloc.LoadRoot[arena.Log](a, "events")
	if err != nil {
		return err
	}
	for e := events.First; e != nil; e = e.Next {
		program, _, _ := strings.Cut(string(e.Name[:]), "\x00")
		fmt.Printf("%14.6f %7d %s\n", time.Duration(e.When).Seconds(), e.Process>>32, program)
	}
	return nil
}
