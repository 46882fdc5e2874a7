package conform

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/lock"
	"github.com/shmheap/shmheap/queue"
)

// Run runs all tests on heaps of the backend.
func Run(t *testing.T, b Backend) {
	for name, test := range map[string]func(*testing.T, *lab){
		"Pointers": testPointers, "Storage": testStorage, "Full": testFull, "Limit": testLimit, "Roots": testRoots,
		"Deaths": testDeaths, "Locks": testLocks, "Queues": testQueues, "Watch": testWatch, "Twice": testTwice,
	} {
		t.Run(name, func(t *testing.T) { test(t, newLab(t, b)) })
	}
}

// node is an element of a list of raw pointers.
type node struct {
	Next  *node
	Value uint64
}

// testPointers: what one process has built with raw pointers, another walks and frees.
func testPointers(t *testing.T, l *lab) {
	const count = 2000
	var head *node
	for i := range uint64(count) {
		n, err := alloc.New[node](l.alloc)
		if err != nil {
			t.Fatal(err)
		}
		n.Next, n.Value = head, i
		head = n
	}
	if err := alloc.StoreRoot(l.alloc, "list", head); err != nil {
		t.Fatal(err)
	}
	p := l.start(t, "walk")
	p.Want(fmt.Sprintf("%#x %d %d", l.Base(), count, count*(count-1)/2))
	p.Succeed()
	if s, err := l.alloc.Stats(); err != nil || s.Live != 0 {
		t.Errorf("%d blocks are in use, %v", s.Live, err)
	}
}

// testStorage: committed memory is there for everybody, and zero when it was given back.
func testStorage(t *testing.T, l *lab) {
	// The allocator has not been asked for anything: these granules are nobody's.
	off := l.Size() - 4*layout.GranuleSize
	before := l.Committed()
	if err := l.Commit(off+100, 2*layout.GranuleSize); err != nil {
		t.Fatal(err)
	}
	if got := l.Committed() - before; got != 3*layout.GranuleSize {
		t.Errorf("%d bytes committed", got)
	}
	l.Memory().Word(off + 8).Swap(1)
	p := l.start(t, "word")
	if got := p.Ask(fmt.Sprint(off + 8)); got != "1" {
		t.Errorf("the other process sees %s", got)
	}
	if err := l.Decommit(off, 3*layout.GranuleSize); err != nil {
		t.Fatal(err)
	}
	if l.Committed() != before || l.IsCommitted(off) {
		t.Errorf("%d bytes committed, before %d", l.Committed(), before)
	}
	testAnew(t, l, off, p)
}

// testAnew: storage that was given back is zero when it comes again, here and in the other process.
func testAnew(t *testing.T, l *lab, off uint64, p *shmtest.Process) {
	if err := l.Commit(off, 1); err != nil {
		t.Fatal(err)
	}
	w := l.Memory().Word(off + 8)
	zero := w.Load() == 0
	if got := p.Ask(fmt.Sprint(off + 8)); zero == l.b.Keeps || (got == "0") != zero || w.Load() == 0 {
		t.Errorf("after giving it back: zero %t, and in the other process %s", zero, got)
	}
	if err := l.Decommit(off, layout.GranuleSize); err != nil {
		t.Fatal(err)
	}
	p.Kill()
}

// testFull: a full heap says so, and is whole afterwards.
func testFull(t *testing.T, l *lab) {
	for range 2 {
		var blocks []*[30000]byte
		for {
			b, err := alloc.New[[30000]byte](l.alloc)
			if errors.Is(err, heap.ErrNoSpace) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			b[0], b[len(b)-1] = 1, 2
			blocks = append(blocks, b)
		}
		if len(blocks) < size/2/30000 {
			t.Errorf("only %d blocks", len(blocks))
		}
		for _, b := range blocks {
			if b[0] != 1 || b[1] != 0 || b[len(b)-1] != 2 {
				t.Fatal("a block was changed")
			}
			if err := alloc.Delete(l.alloc, b); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := l.alloc.Trim(); err != nil {
		t.Error(err)
	}
}

// testLimit: a limit of storage is kept.
func testLimit(t *testing.T, l *lab) {
	if err := l.SetLimit(l.Committed() + 8*layout.GranuleSize); err != nil {
		t.Fatal(err)
	}
	_, err := alloc.New[[4 << 20]byte](l.alloc)
	if !errors.Is(err, heap.ErrLimit) || l.Committed() > l.Limit() {
		t.Errorf("%v; %d bytes of %d", err, l.Committed(), l.Limit())
	}
	if err := l.SetLimit(0); err != nil {
		t.Fatal(err)
	}
	b, err := alloc.New[[4 << 20]byte](l.alloc)
	if err != nil {
		t.Fatal(err)
	}
	if err := alloc.Delete(l.alloc, b); err != nil {
		t.Error(err)
	}
}

// testRoots: of several processes that make a root one does, and all see it.
func testRoots(t *testing.T, l *lab) {
	const racers = 4
	var all []*shmtest.Process
	for range racers {
		p := l.start(t, "root")
		p.Want("ready")
		all = append(all, p)
	}
	for _, p := range all {
		p.Tell("go")
	}
	var made int
	seen := map[string]bool{}
	for _, p := range all {
		loaded, offset, _ := strings.Cut(p.Hear(), " ")
		if seen[offset] = true; loaded == "false" {
			made++
		}
		p.Succeed()
	}
	if made != 1 || len(seen) != 1 {
		t.Errorf("made by %d, seen at %v", made, seen)
	}
}

// testDeaths: processes that are killed while they allocate leave nothing but what they had allocated.
func testDeaths(t *testing.T, l *lab) {
	const victims = 12
	for i := range victims {
		p := l.start(t, "churn")
		p.Want("churning")
		time.Sleep(time.Duration(1+i%4) * 3 * time.Millisecond) // to be killed somewhere else each time
		p.Kill()
		if _, err := l.alloc.Recover(); err != nil {
			t.Fatal(err)
		}
	}
	if n := l.alloc.Recovered().Peers; n != victims {
		t.Errorf("recovered from %d deaths, want %d", n, victims)
	}
	if peers, err := l.Peers(); err != nil || len(peers) != 1 {
		t.Errorf("peers %v, %v", peers, err)
	}
	// A block of each victim's word, and for each kill one that is between the two.
	s, err := l.alloc.Stats()
	if err != nil || s.Live > 2*victims || s.Private != 0 || s.Claimed != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

// counter is what a lock protects: two words that are equal when it is free.
type counter struct {
	Mutex lock.Mutex
	A, B  uint64
}

// testLocks: a lock goes on to the next when its holder dies.
func testLocks(t *testing.T, l *lab) {
	c, err := alloc.New[counter](l.alloc)
	if err == nil {
		err = alloc.StoreRoot(l.alloc, "counter", c)
	}
	if err != nil {
		t.Fatal(err)
	}
	var deaths int
	for range 5 {
		p := l.start(t, "hold")
		p.Want("held")
		p.Kill()
		err := c.Mutex.Lock(t.Context(), l.Heap)
		if errors.Is(err, lock.ErrOwnerDied) {
			deaths++
			c.B = c.A
			err = c.Mutex.MarkConsistent(l.Heap)
		}
		if err != nil || c.A != c.B {
			t.Fatal(c.A, c.B, err)
		}
		if err := c.Mutex.Unlock(l.Heap); err != nil {
			t.Fatal(err)
		}
	}
	if deaths != 5 || c.A != 5 {
		t.Errorf("%d deaths, counted %d", deaths, c.A)
	}
}

// testQueues: what producers sent before they were killed arrives once and in order.
func testQueues(t *testing.T, l *lab) {
	in, err := openPort(l.place)
	if err != nil {
		t.Fatal(err)
	}
	const victims = 8
	total := uint64(0)
	for range victims {
		p := l.start(t, "send")
		p.Want("sending")
		total += in.receiveFrom(t, p)
	}
	if _, err := in.hands.Recover(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(in.port.Close(), in.hand.Close(), queue.Delete(l.alloc, "queue")); err != nil {
		t.Error(err)
	}
	if total < victims*100 {
		t.Errorf("only %d elements", total)
	}
}

// end is one process's end of the queue.
type end struct {
	hands *queue.Hands
	queue *queue.Queue
	hand  *queue.Hand
	port  *queue.Port
}

func openPort(p place) (e end, err error) {
	if e.hands, err = queue.OpenHands(p.alloc, "hands", 16); err != nil {
		return e, err
	}
	if e.queue, err = queue.Open(p.alloc, "queue", &queue.Options{Capacity: 64, Hands: e.hands}); err != nil {
		return e, err
	}
	if e.hand, err = e.hands.Hand(); err != nil {
		return e, err
	}
	e.port, err = e.hand.Port(e.queue)
	return e, err
}

// receiveFrom receives from a producer, kills it, and receives what it had sent: numbers from 1 without a gap.
func (e *end) receiveFrom(t *testing.T, p *shmtest.Process) uint64 {
	t.Helper()
	got := uint64(0)
	for ; got < 100; got++ {
		if _, err := e.port.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.take(t, got+1)
	}
	p.Kill()
	for ; ; got++ {
		switch _, err := e.port.TryReceive(); {
		case errors.Is(err, queue.ErrEmpty):
			return got
		case err != nil:
			t.Fatal(err)
		}
		e.take(t, got+1)
	}
}

// take frees the element in the hand, which must be the one that is due.
func (e *end) take(t *testing.T, want uint64) {
	t.Helper()
	n, err := queue.Pointer[node](e.queue, e.hand.Held())
	if err == nil && n.Value != want {
		t.Fatalf("received %d, want %d", n.Value, want)
	}
	if err := errors.Join(err, e.hand.Free()); err != nil {
		t.Fatal(err)
	}
}

// testWatch: a death is told.
func testWatch(t *testing.T, l *lab) {
	p := l.start(t, "word")
	p.Ask("0")
	told := make(chan heap.Departure, 8)
	done := make(chan error, 1)
	go func() { done <- l.Heap.Watch(t.Context(), func(d heap.Departure) { told <- d }) }()
	time.Sleep(20 * time.Millisecond) // the watch may or may not have begun: it tells either way
	p.Kill()
	select {
	case d := <-told:
		if !d.Died {
			t.Errorf("told %+v", d)
		}
	case <-time.After(shmtest.Patience):
		t.Error("nobody told of the death")
	}
}

// testTwice: a process opens a heap once, and an address is taken once.
func testTwice(t *testing.T, l *lab) {
	var err error
	if l.b.Anonymous {
		_, err = heap.OpenFile(l.fds[0], l.b.options(l.dir, l.fds[1:]))
	} else {
		_, err = heap.Open(heapName, l.b.options(l.dir, nil))
	}
	if !errors.Is(err, heap.ErrOpen) {
		t.Errorf("open again: %v", err)
	}
	_, err = heap.CreateAnonymous(&heap.Options{Size: size, Base: l.Base(), Kernel: l.b.options(l.dir, nil).Kernel})
	if err == nil {
		t.Error("another heap at the same base")
	}
}
