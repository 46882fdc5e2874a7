package cli

import (
	"fmt"
	"os"
	"time"
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/queue"
)

// churn is a program that works on a heap until it is killed: churn NAME
//
// It allocates and frees, pushes to the queue "jobs" and pops, and keeps ten elements in it.
func churn() {
	if err := churnHeap(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "churn:", err)
		os.Exit(1)
	}
}

func churnHeap(name string) error {
	h, err := heap.Open(name, nil)
	if err != nil {
		return err
	}
	a, err := alloc.Open(h)
	if err != nil {
		return err
	}
	q, err := queue.Open(a, "jobs", &queue.Options{Capacity: 64})
	if err != nil {
		return err
	}
	in, err := queue.PusherOf[Sample](q)
	if err != nil {
		return err
	}
	out, err := queue.PopperOf[Sample](q)
	if err != nil {
		return err
	}
	if _, err := a.Alloc(300_000); err != nil {
		return err
	}
	var kept [512]unsafe.Pointer
	for n := 0; ; n++ {
		s, err := alloc.New[Sample](a)
		if err != nil {
			return err
		}
		if err := in.TryPush(s); err != nil {
			return err
		}
		if n >= 10 {
			if s, err = out.TryPop(); err != nil {
				return err
			}
			if err := alloc.Delete(a, s); err != nil {
				return err
			}
		}
		slot := &kept[n%len(kept)]
		if err := a.Free(*slot); err != nil {
			return err
		}
		if *slot, err = a.Alloc(uint64(100 + n%2000)); err != nil {
			return err
		}
		if n%50 == 0 {
			time.Sleep(time.Millisecond) // others need the processor too
		}
	}
}
