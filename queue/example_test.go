package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/queue"
)

// newAllocator makes a heap for an example; end removes it.
func newAllocator() (a *alloc.Allocator, end func()) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	h, err := heap.Create("jobs", &heap.Options{Dir: filepath.Join(dir, "heaps"), Size: 16 << 20})
	if err != nil {
		log.Fatal(err)
	}
	if a, err = alloc.Open(h); err != nil {
		log.Fatal(err)
	}
	return a, func() {
		h.Close()
		os.RemoveAll(dir)
	}
}

// Job is what goes through the queue of the example: a pointer to one.
type Job struct{ Number int64 }

// One process pushes pointers, another pops them: each opens the queue by its name.
func Example() {
	a, end := newAllocator()
	defer end()
	q, err := queue.Open(a, "todo", &queue.Options{Capacity: 16})
	if err != nil {
		log.Fatal(err)
	}
	in, err := queue.PusherOf[Job](q)
	if err != nil {
		log.Fatal(err)
	}
	out, err := queue.PopperOf[Job](q)
	if err != nil {
		log.Fatal(err)
	}
	for n := range int64(3) {
		job, err := alloc.New[Job](a)
		if err != nil {
			log.Fatal(err)
		}
		job.Number = n
		if err := in.Push(context.Background(), job); err != nil {
			log.Fatal(err)
		}
	}
	q.Close() // nobody pushes any more
	for {
		job, err := out.Pop(context.Background())
		if errors.Is(err, queue.ErrClosed) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(job.Number)
	}
	// Output:
	// 0
	// 1
	// 2
}

// What a hand holds is never lost: if this process were killed anywhere here, the block would be in the queue, free,
// or delivered again.
func ExampleHand() {
	a, end := newAllocator()
	defer end()
	hands, err := queue.OpenHands(a, "hands", 0)
	if err != nil {
		log.Fatal(err)
	}
	q, err := queue.Open(a, "todo", &queue.Options{Hands: hands})
	if err != nil {
		log.Fatal(err)
	}
	hand, err := hands.Hand()
	if err != nil {
		log.Fatal(err)
	}
	port, err := hand.Port(q)
	if err != nil {
		log.Fatal(err)
	}
	block, err := hand.Make(8)
	if err != nil {
		log.Fatal(err)
	}
	job, err := queue.Pointer[Job](q, block)
	if err != nil {
		log.Fatal(err)
	}
	job.Number = 42
	if err := port.TrySend(); err != nil {
		log.Fatal(err)
	}

	got, err := port.TryReceive() // another process, as a rule
	if err != nil {
		log.Fatal(err)
	}
	job, err = queue.Pointer[Job](q, got)
	fmt.Println(job.Number, err, hand.Free())
	// Output: 42 <nil> <nil>
}
