// Command worker goes on with the work that it finds in a heap: a list of raw pointers, which it makes longer, and a
// queue, which it empties and fills. It prints what it found.
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"structs"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/queue"
)

// build tells the builds apart; the linker sets it.
var build = "unknown"

type node struct {
	_ structs.HostLayout

	next  *node
	value uint64
	text  alloc.String
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(path, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	h, err := heap.Open(path, nil)
	if errors.Is(err, heap.ErrNotExist) {
		h, err = heap.Create("restart", &heap.Options{Path: path, Size: 64 << 20})
	}
	if err != nil {
		return err
	}
	a, err := alloc.Open(h)
	if err != nil {
		return err
	}
	q, err := queue.Open(a, "queue", &queue.Options{})
	if err != nil {
		return err
	}
	if err := work(a, q, n); err != nil {
		return err
	}
	if err := errors.Join(a.Check().Err(), h.Sync()); err != nil {
		return err
	}
	if n%2 == 1 {
		os.Exit(0) // without Close: a dead peer
	}
	return h.Close()
}

// work reads the list, takes everything out of the queue, makes the list longer and puts its new nodes in.
func work(a *alloc.Allocator, q *queue.Queue, n int) error {
	first, err := alloc.LoadRoot[node](a, "list")
	if err != nil && !errors.Is(err, heap.ErrNoRoot) {
		return err
	}
	length, sum, texts := uint64(0), uint64(0), 0
	for at := first; at != nil; at = at.next {
		length, sum, texts = length+1, sum+at.value, texts+len(at.text.String())
	}
	popped, err := empty(a, q)
	if err != nil {
		return err
	}
	fmt.Println(build, h(a), length, sum, texts, popped)
	return grow(a, q, first, length, n)
}

func h(a *alloc.Allocator) string { return fmt.Sprintf("%#x", a.Heap().Base()) }

// empty counts the elements of the queue.
func empty(a *alloc.Allocator, q *queue.Queue) (n uint64, err error) {
	c, err := q.Consumer()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for {
		off, err := c.TryPop()
		if errors.Is(err, queue.ErrEmpty) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if mem.View[node](a.Heap().Memory(), off).value == 0 {
			return n, fmt.Errorf("element %#x is no node", off)
		}
		n++
	}
}

func grow(a *alloc.Allocator, q *queue.Queue, first *node, length uint64, n int) error {
	p, err := q.Producer()
	if err != nil {
		return err
	}
	defer p.Close()
	for range n {
		length++
		next, err := alloc.New[node](a)
		if err != nil {
			return err
		}
		next.next, next.value = first, length
		if next.text, err = alloc.MakeString(a, build); err != nil {
			return err
		}
		off, _ := mem.OffsetOf(a.Heap().Memory(), next)
		if err := errors.Join(alloc.StoreRoot(a, "list", next), p.TryPush(off)); err != nil {
			return err
		}
		first = next
	}
	return nil
}
