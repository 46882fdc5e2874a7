package conform

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/queue"
)

// parts are what other processes of a test do with its heap.
var parts = map[string]func(place) error{
	"walk": partWalk, "word": partWord, "root": partRoot, "churn": partChurn, "hold": partHold, "send": partSend,
}

// partWalk walks a list and frees it.
func partWalk(p place) error {
	head, err := alloc.LoadRoot[node](p.alloc, "list")
	if err != nil {
		return err
	}
	var count, sum uint64
	for n := head; n != nil; {
		count, sum = count+1, sum+n.Value
		next := n.Next
		if err := alloc.Delete(p.alloc, n); err != nil {
			return err
		}
		n = next
	}
	fmt.Printf("%#x %d %d\n", p.Base(), count, sum)
	return nil
}

// partWord adds one to words that it is told of, and says what they were.
func partWord(p place) error {
	for {
		off, err := strconv.ParseUint(shmtest.Listen(), 10, 64)
		if err != nil {
			return err
		}
		if off == 0 {
			fmt.Println("attached")
			continue
		}
		fmt.Println(p.Memory().Word(off).Add(1) - 1)
	}
}

// partRoot makes a root unless another is quicker.
func partRoot(p place) error {
	n, err := alloc.New[node](p.alloc)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	shmtest.Listen()
	actual, loaded, err := alloc.LoadOrStoreRoot(p.alloc, "race", n)
	if err != nil {
		return err
	}
	if loaded {
		err = alloc.Delete(p.alloc, n)
	}
	fmt.Printf("%t %p\n", loaded, actual)
	return err
}

// partChurn allocates and frees until it is killed, one block at a time.
func partChurn(p place) error {
	for first := true; ; first = false {
		n := rand.IntN(3)
		var err error
		switch n {
		case 0:
			err = turn[node](p)
		case 1:
			err = turn[[2000]byte](p)
		case 2:
			err = turn[[200000]byte](p)
		}
		if err != nil {
			return err
		}
		if first {
			fmt.Println("churning")
		}
	}
}

func turn[T any](p place) error {
	n, err := alloc.New[T](p.alloc)
	if err != nil {
		return err
	}
	return alloc.Delete(p.alloc, n)
}

// partHold takes the lock, changes one of the two words, and waits to be killed.
func partHold(p place) error {
	c, err := alloc.LoadRoot[counter](p.alloc, "counter")
	if err != nil {
		return err
	}
	if err := c.Mutex.Lock(context.Background(), p.Heap); err != nil {
		return err
	}
	c.A++
	fmt.Println("held")
	shmtest.Listen()
	return nil
}

// partSend sends numbered elements until it is killed.
func partSend(p place) error {
	e, err := openPort(p)
	if err != nil {
		return err
	}
	for i := uint64(1); ; i++ {
		if i == 2 {
			fmt.Println("sending")
		}
		off, err := e.hand.Make(16)
		if err != nil {
			return err
		}
		n, err := queue.Pointer[node](e.queue, off)
		if err != nil {
			return err
		}
		n.Value = i
		if err := e.port.Send(context.Background()); err != nil {
			return err
		}
	}
}
