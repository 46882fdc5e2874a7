// Command cache shares a cache of limited size between processes, which are killed at any moment, with its lock or
// without. At the end every block is accounted for:
//
//	go run ./examples/cache
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

const (
	name    = "example-cache"
	workers = 4
	kills   = 60
)

func main() {
	work := supervise
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		work = worker
	}
	if err := work(); err != nil {
		log.Fatal(err)
	}
}

// enter opens the heap and the cache in it, and makes what is missing.
func enter() (*client, error) {
	h, err := heap.Open(name, nil)
	if errors.Is(err, heap.ErrNotExist) {
		h, err = heap.Create(name, &heap.Options{Size: 256 << 20})
	}
	if err != nil {
		return nil, err
	}
	c := &client{heap: h}
	if c.alloc, err = alloc.Open(h); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	mine, err := alloc.New[Cache](c.alloc)
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	loaded := false
	if c.cache, loaded, err = alloc.LoadOrStoreRoot(c.alloc, "cache", mine); err == nil && loaded {
		err = alloc.Delete(c.alloc, mine)
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return c, nil
}

// worker looks keys up until it is killed.
func worker() error {
	c, err := enter()
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		key := uint64(rand.ExpFloat64() * maxItems)
		want := fmt.Sprintf("value of %d", key)
		got, err := c.get(context.Background(), key, func() string { return want + strings.Repeat(".", rand.IntN(2000)) })
		if err != nil {
			return err
		}
		if !strings.HasPrefix(got, want) {
			return fmt.Errorf("key %d has %q", key, got)
		}
	}
}

// start starts a worker and waits until it works.
func start() (*exec.Cmd, error) {
	cmd := exec.Command(os.Args[0], "worker")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	_, err = fmt.Fscanln(out, new(string))
	return cmd, err
}

// supervise kills workers and starts others in their place, and counts at the end.
func supervise() (err error) {
	c, err := enter()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.heap.Close(), heap.Remove(name, nil)) }()
	var team [workers]*exec.Cmd
	for i := range workers + kills {
		at := &team[i%workers]
		if *at != nil {
			time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
			end(*at)
		}
		if *at, err = start(); err != nil {
			return err
		}
	}
	for _, w := range team {
		end(w)
	}
	return c.report()
}

// end kills a process, wherever it is, and waits until it is gone.
func end(w *exec.Cmd) {
	_ = w.Process.Kill()
	_ = w.Wait()
}

// report says what is in use, and what leaked. A kill may cost a block where package alloc says so, and Collect finds it.
func (c *client) report() error {
	if err := c.lock(context.Background()); err != nil {
		return err
	}
	defer c.cache.Lock.Unlock(c.heap)
	if _, err := c.alloc.Recover(); err != nil {
		return err
	}
	leaked, err := c.alloc.Collect(context.Background(), nil)
	if err != nil {
		return err
	}
	stats, err := c.alloc.Stats()
	if err != nil {
		return err
	}
	fmt.Printf("%d processes were killed, %d with the lock; %d items, %d blocks had leaked\n", workers+kills, c.cache.Repairs, c.cache.Count, leaked.Blocks)
	if want := 1 + 2*c.cache.Count; stats.Live != want { // the cache; an item and its text each
		return fmt.Errorf("%d blocks are in use, want %d", stats.Live, want)
	}
	fmt.Println("every block is accounted for")
	return c.alloc.Check().Err()
}
