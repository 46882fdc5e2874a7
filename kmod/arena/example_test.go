package arena_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/kmod/arena"
	"github.com/shmheap/shmheap/queue"
)

// Example has the kernel add up a list of raw pointers: a program, with no module.
func Example() {
	dir, err := os.MkdirTemp("", "shmheap-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	o := &heap.Options{Dir: filepath.Join(dir, "heaps"), Size: 16 << 20, Kernel: arena.New(nil)}
	h, err := heap.Create("sums", o)
	if err != nil {
		log.Fatal(err)
	}
	sum, err := sumInKernel(h)
	if err := errors.Join(err, h.Close(), heap.Remove("sums", o)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(sum)
	// Output: 5050
}

// sumInKernel makes a list of the numbers to 100, and a command to add them.
func sumInKernel(h *heap.Heap) (uint64, error) {
	a, err := alloc.Open(h)
	if err != nil {
		return 0, err
	}
	var first *arena.Element
	for i := range uint64(100) {
		e, err := alloc.New[arena.Element](a)
		if err != nil {
			return 0, err
		}
		e.Next, e.Value = first, i+1
		first = e
	}
	c, err := alloc.New[arena.Command](a)
	if err != nil {
		return 0, err
	}
	at, err := alloc.OffsetOf(a, first)
	if err != nil {
		return 0, err
	}
	c.Verb, c.Argument = arena.VerbSum, h.Base()+at
	err = serve(h, a, c)
	return c.Result, err
}

// serve sends the command to the kernel and has it served.
func serve(h *heap.Heap, a *alloc.Allocator, c *arena.Command) error {
	commands, err := queue.Open(a, "commands", &queue.Options{})
	if err != nil {
		return err
	}
	replies, err := queue.Open(a, "replies", &queue.Options{})
	if err != nil {
		return err
	}
	server, err := arena.NewServer(h, commands, replies, nil)
	if err != nil {
		return err
	}
	out, err := queue.PusherOf[arena.Command](commands)
	if err == nil {
		err = out.TryPush(c)
	}
	if err == nil {
		_, _, err = server.Serve(1)
	}
	return errors.Join(err, server.Close())
}
