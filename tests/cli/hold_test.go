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

// hold is a program that attaches to a heap and allocates: hold NAME [die]
//
// It then waits to be killed, or kills itself.
func hold() {
	if err := holdHeap(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "hold:", err)
		os.Exit(1)
	}
	if len(os.Args) > 2 {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
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
	return alloc.StoreRoot(a, "sample", sample)
}
