package cli

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

// Sample is what hold stores under the root "sample".
type Sample struct {
	Text alloc.String
	Next *Sample
	Hits atomic.Uint64
}

// hold is a program that attaches to a heap and allocates: hold NAME [die|leak]
//
// It then makes the file NAME.held and waits to be killed, or kills itself, with "leak" after allocating what nothing leads to.
func hold() {
	if err := holdHeap(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "hold:", err)
		os.Exit(1)
	}
	if len(os.Args) > 2 {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	if err := os.WriteFile(os.Args[1]+".held", nil, 0o600); err != nil {
		fmt.Fprintln(os.Stderr, "hold:", err)
	}
	select {} // until a signal
}

func holdHeap(name string) error {
	h, err := heap.Open(name, nil)
	if err != nil {
		return err
	}
	a, err := alloc.Open(h)
	if err != nil {
		return err
	}
	c, err := a.NewCache()
	if err != nil {
		return err
	}
	sample, err := alloc.New[Sample](c)
	if err != nil {
		return err
	}
	if sample.Text, err = alloc.MakeString(c, "hello"); err != nil {
		return err
	}
	if len(os.Args) > 2 && os.Args[2] == "leak" {
		if err := leak(c); err != nil {
			return err
		}
	}
	return alloc.StoreRoot(a, "sample", sample)
}

// leak allocates three blocks, a large one and an arena and keeps no pointer to them in the heap.
func leak(c *alloc.Cache) error {
	for _, size := range []uint64{100, 100, 100, 1 << 20} {
		if _, err := c.AllocZeroed(size); err != nil {
			return err
		}
	}
	r, err := alloc.NewArena(c, nil)
	if err != nil {
		return err
	}
	return r.Publish()
}
