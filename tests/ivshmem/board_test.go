package ivshmem

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"structs"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/lock"
	"github.com/shmheap/shmheap/queue"
)

// board is what both machines work on.
type board struct {
	_ structs.HostLayout

	self  *board      // where the machine that made it has it
	list  *node       // of both machines' nodes, under the mutex
	count mem.Word    // both add to it without a lock
	mutex lock.Mutex  // of the list
	stage mem.Word    // how far they have come; it only grows
	steps [2]mem.Word // of work that each machine has done, written by that machine
}

// The machines, as indices and by name.
const (
	near = iota
	far
)

var names = [...]string{near: "near", far: "far"}

type node struct {
	_ structs.HostLayout

	next  *node
	value uint64
	text  alloc.String
}

// message is what the far machine allocates and the near one frees.
type message struct {
	_ structs.HostLayout

	value uint64
	text  alloc.String
}

// Stages. Each is stored by the machine that it names.
const (
	farAttached = iota + 1
	nearReady   // the contest may begin
	nearDone    // with it, and nobody here needs the mutex any more
	farHolds    // it
)

const (
	contest = 5000 // how often each machine adds to the count and puts a node into the list
	looks   = 100  // nodes that are looked at for each that is put there
	lead    = 64   // by how many steps a machine may be ahead of the other: so that they do meet
)

// patience is for a machine that has to wait for its processors.
const patience = 3 * time.Minute

// newBoard makes the board and the queue of a heap.
func newBoard(a *alloc.Allocator) (*board, error) {
	b, err := alloc.New[board](a)
	if err != nil {
		return nil, err
	}
	b.self = b
	_, err = queue.Open(a, "queue", &queue.Options{Capacity: 1 << 10})
	return b, errors.Join(err, alloc.StoreRoot(a, "board", b))
}

// loadBoard returns the board that another machine has made, at the same address.
func loadBoard(a *alloc.Allocator) (*board, error) {
	b, err := alloc.LoadRoot[board](a, "board")
	if err == nil && b.self != b {
		err = fmt.Errorf("the board is at %p here and at %p there", b, b.self)
	}
	return b, err
}

// until waits until ok reports true.
func until(what string, ok func() bool) error {
	for end := time.Now().Add(patience); !ok(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			return fmt.Errorf("waited %v for %s", patience, what)
		}
	}
	return nil
}

// await waits until a stage has been reached. The other machine may be beyond it already.
func (b *board) await(stage uint64) error {
	return until(fmt.Sprintf("stage %d", stage), func() bool { return b.stage.Load() >= stage })
}

// work does one machine's share, in step with the other: it adds to the count, and to the list under the lock. Of each node
// it tells by put.
func (b *board) work(h *heap.Heap, a *alloc.Allocator, self int, put func(value uint64) error) error {
	other := &b.steps[1-self]
	for i := range uint64(contest) {
		if err := until("the other machine's step", func() bool { return other.Load()+lead > i }); err != nil {
			return err
		}
		b.count.Add(1)
		n, err := newNode(a, self, i)
		if err != nil {
			return err
		}
		if err := errors.Join(b.insert(h, n), put(i)); err != nil {
			return err
		}
		b.steps[self].Add(1)
	}
	return nil
}

func newNode(a *alloc.Allocator, self int, value uint64) (*node, error) {
	n, err := alloc.New[node](a)
	if err != nil {
		return nil, err
	}
	n.value = value
	n.text, err = alloc.MakeString(a, names[self])
	return n, err
}

func (n *node) delete(a *alloc.Allocator) error {
	return errors.Join(n.text.Free(a), alloc.Delete(a, n))
}

// insert looks at some nodes of both machines between the load and the store of the list's head: without the mutex, nodes
// would be lost.
func (b *board) insert(h *heap.Heap, n *node) error {
	if err := b.mutex.Lock(context.Background(), h); err != nil {
		return err
	}
	n.next = b.list
	err := n.next.look()
	b.list = n
	return errors.Join(err, b.mutex.Unlock(h))
}

// look follows the pointers for a while.
func (n *node) look() error {
	for i := 0; i < looks && n != nil; i, n = i+1, n.next {
		if !slices.Contains(names[:], n.text.String()) {
			return fmt.Errorf("node %d at %p has the text %q", n.value, n, n.text.String())
		}
	}
	return nil
}

// walk follows the pointers of the list, which the caller has for itself: each machine has put each of its nodes there, once. A
// block that was handed out twice would show here as a node that is missing or changed.
func (b *board) walk() error {
	seen := map[string]map[uint64]int{}
	for _, name := range names {
		seen[name] = map[uint64]int{}
	}
	nodes := 0
	for n := b.list; n != nil; n = n.next {
		name := n.text.String()
		if nodes++; nodes > 2*contest || seen[name] == nil || n.value >= contest {
			return fmt.Errorf("node %d of the list at %p is %q %d", nodes, n, name, n.value)
		}
		seen[name][n.value]++
	}
	for _, name := range names {
		if len(seen[name]) != contest {
			return fmt.Errorf("%d of %d nodes of the machine %s are in the list", len(seen[name]), contest, name)
		}
	}
	if nodes != 2*contest {
		return fmt.Errorf("%d nodes in the list, want %d", nodes, 2*contest)
	}
	return nil
}
