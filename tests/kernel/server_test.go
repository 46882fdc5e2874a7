package kernel

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/kmod/arena"
	"github.com/shmheap/shmheap/queue"
)

func init() {
	programs["client"] = runClient
	programs["sleeper"] = runSleeper
}

// service is a server with its queues.
type service struct {
	*arena.Server
	commands, replies *queue.Queue
	out               *queue.Producer
	in                *queue.Consumer
}

func newService(t testing.TB, l *lab, capacity int) *service {
	t.Helper()
	s := &service{
		commands: mustQueue(t, l.alloc, "commands", &queue.Options{Capacity: capacity}),
		replies:  mustQueue(t, l.alloc, "replies", &queue.Options{Capacity: capacity}),
	}
	var err error
	if s.Server, err = arena.NewServer(l.heap, s.commands, s.replies, l.news); err != nil {
		t.Fatal(err)
	}
	if s.out, err = s.commands.Producer(); err != nil {
		t.Fatal(err)
	}
	if s.in, err = s.replies.Consumer(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.out.Close(), s.in.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// call has one command served.
func (s *service) call(t testing.TB, at uint64) {
	t.Helper()
	if err := s.out.TryPush(at); err != nil {
		t.Fatal(err)
	}
	if served, lost, err := s.Serve(1); served != 1 || lost != 0 || err != nil {
		t.Fatalf("served %d, lost %d, %v", served, lost, err)
	}
	if got, err := s.in.TryPop(); got != at || err != nil {
		t.Fatalf("popped %#x, %v, want %#x", got, err, at)
	}
}

// makeList makes a list with the values 1 to n and returns its first element.
func makeList(t testing.TB, a *alloc.Allocator, n uint64) *arena.Element {
	t.Helper()
	var first *arena.Element
	for i := n; i > 0; i-- {
		e, _ := mustNew[arena.Element](t, a)
		e.Next, e.Value = first, i
		first = e
	}
	return first
}

// TestPointers: the kernel walks lists of raw pointers and turns them round, and user space follows what it made.
func TestPointers(t *testing.T) {
	l := newLab(t)
	s := newService(t, l, 16)
	c, at := mustNew[arena.Command](t, l.alloc)
	const n = 5000
	first := makeList(t, l.alloc, n)
	c.Verb, c.Argument = arena.VerbSum, l.heap.Base()+offsetOf(l.alloc, first)
	s.call(t, at)
	if c.Count != n || c.Result != n*(n+1)/2 {
		t.Errorf("sum %d of %d", c.Result, c.Count)
	}
	c.Verb = arena.VerbReverse
	s.call(t, at)
	if want := l.heap.Base() + offsetOf(l.alloc, first); c.Result == want || c.Count != n {
		t.Errorf("%#x, %d elements", c.Result, c.Count)
	}
	want := uint64(n)
	e, err := queue.Pointer[arena.Element](s.commands, c.Result-l.heap.Base())
	if err != nil {
		t.Fatal(err)
	}
	for ; e != nil; e = e.Next {
		if e.Value != want {
			t.Fatalf("value %d, want %d", e.Value, want)
		}
		want--
	}
	if want != 0 {
		t.Errorf("the list ends at %d", want)
	}
	c.Verb, c.Argument = arena.VerbRead, l.heap.Base()+at
	if s.call(t, at); c.Result != arena.VerbRead {
		t.Errorf("read %d", c.Result)
	}
}

// TestHostilePointers: whatever user space writes, programs end, the heap next to it stays whole, and the kernel has
// nothing to complain of.
func TestHostilePointers(t *testing.T) {
	complaints := kernelComplaints(t)
	l := newLab(t)
	s := newService(t, l, 16)
	c, at := mustNew[arena.Command](t, l.alloc)
	ring := makeList(t, l.alloc, 1)
	ring.Next = ring
	base := l.heap.Base()
	addresses := []uint64{
		1, 7, 8, base - 8, base + l.heap.Size(), base + l.heap.Size() - 4, 1 << 63, 0xffff_8880_0000_0000, ^uint64(0), ^uint64(7),
		base + offsetOf(l.alloc, ring), base + offsetOf(l.alloc, ring) + 3,
	}
	for range 50 {
		addresses = append(addresses, rand.Uint64())
	}
	for _, verb := range []uint64{arena.VerbSum, arena.VerbRead, 77} {
		for _, address := range addresses {
			c.Verb, c.Argument = verb, address
			s.call(t, at)
		}
	}
	c.Verb, c.Argument = arena.VerbSum, base+offsetOf(l.alloc, ring)
	if s.call(t, at); c.Count != 1<<20 {
		t.Errorf("a list in a circle has %d elements", c.Count)
	}
	if after := kernelComplaints(t); after != complaints {
		t.Errorf("the kernel says: %s", after)
	}
}

// TestHostileQueue: the slots, hints and state of the queues are anything at all.
func TestHostileQueue(t *testing.T) {
	complaints := kernelComplaints(t)
	l := newLab(t)
	s := newService(t, l, 16)
	m := l.heap.Memory()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	good := append([]byte(nil), m.Bytes(s.commands.Offset(), 4096)...)
	for range 2000 {
		for range 1 + random.IntN(4) {
			// Behind the first line, which a program does not read.
			m.Word(s.commands.Offset() + 128 + 8*random.Uint64N(400)).Swap(random.Uint64() >> random.IntN(64))
		}
		if _, _, err := s.Serve(20); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	copy(m.Bytes(s.commands.Offset(), 4096), good)
	if after := kernelComplaints(t); after != complaints {
		t.Errorf("the kernel says: %s", after)
	}
}

// TestDoorbells: many ring at once, and each command is served once.
func TestDoorbells(t *testing.T) {
	l := newLab(t)
	s := newService(t, l, 64)
	const callers, each = 4, 3000
	var group sync.WaitGroup
	var replies, served, lost atomic.Uint64
	for range callers {
		group.Go(func() {
			out, err1 := s.commands.Producer()
			in, err2 := s.replies.Consumer()
			c, at := mustNew[arena.Command](t, l.alloc)
			if err := errors.Join(err1, err2); err != nil {
				t.Error(err)
				return
			}
			defer out.Close()
			defer in.Close()
			c.Verb = arena.VerbEcho
			for range each {
				for out.TryPush(at) != nil {
					runtime.Gosched()
				}
				n, gone, err := s.Serve(8)
				if err != nil {
					t.Error(err)
				}
				served.Add(n)
				lost.Add(gone)
				if _, err := in.TryPop(); err == nil {
					replies.Add(1)
				}
			}
		})
	}
	group.Wait()
	n, gone, _ := s.Serve(1000)
	served.Add(n)
	lost.Add(gone)
	for ; ; replies.Add(1) {
		if _, err := s.in.TryPop(); err != nil {
			break
		}
	}
	if served.Load() != callers*each || replies.Load()+lost.Load() != callers*each {
		t.Errorf("%d served, %d replies, %d lost, want %d", served.Load(), replies.Load(), lost.Load(), callers*each)
	}
}

// runClient pushes numbered commands until it is killed, and says in a word how many.
func runClient() error {
	a, err := attach()
	if err != nil {
		return err
	}
	commands, err := queue.Open(a, "commands", nil)
	if err != nil {
		return err
	}
	out, err := commands.Producer()
	if err != nil {
		return err
	}
	pushed := a.Heap().Memory().Word(argument(1))
	for i := uint64(1); ; i++ {
		c, err := alloc.New[arena.Command](a)
		if err != nil {
			return err
		}
		c.Verb, c.Argument = arena.VerbEcho, argument(2)<<32|i
		for out.TryPush(offsetOf(a, c)) != nil {
			runtime.Gosched()
		}
		pushed.StoreRelease(i)
		if i == 1 {
			fmt.Println("pushing")
		}
	}
}

// TestKilledClients: what clients had pushed before they were killed is served once, and in order.
func TestKilledClients(t *testing.T) {
	l := newLab(t)
	s := newService(t, l, 256)
	_, word := mustNew[uint64](t, l.alloc)
	pushed := l.heap.Memory().Word(word)
	total := uint64(0)
	for id := range kills(t, 10) {
		pushed.StoreRelease(0)
		p := l.start(t, "client", word, id)
		p.Want("pushing")
		next := uint64(1)
		for deadline := time.Now().Add(time.Duration(5+rand.IntN(20)) * time.Millisecond); time.Now().Before(deadline); {
			next = s.drain(t, l, uint64(id), next)
		}
		p.Kill()
		for before := uint64(0); before != next; {
			before, next = next, s.drain(t, l, uint64(id), next)
		}
		if got, said := next-1, pushed.Load(); got != said && got != said+1 {
			t.Errorf("client %d pushed %d or one more, %d were served", id, said, got)
		}
		total += next - 1
		if _, err := l.alloc.Recover(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("note: %d commands of killed clients", total)
}

// drain serves what there is and takes the replies, which go on from next.
func (s *service) drain(t *testing.T, l *lab, id, next uint64) uint64 {
	t.Helper()
	if _, lost, err := s.Serve(100); lost != 0 || err != nil {
		t.Fatalf("lost %d, %v", lost, err)
	}
	for {
		off, err := s.in.TryPop()
		if errors.Is(err, queue.ErrEmpty) {
			return next
		}
		c, err := queue.Pointer[arena.Command](s.replies, off)
		if err != nil {
			t.Fatal(err)
		}
		if c.Argument != id<<32|next || c.Result != c.Argument+1 {
			t.Fatalf("reply to %#x is %#x, want that to %#x", c.Argument, c.Result, id<<32|next)
		}
		if err := alloc.Delete(l.alloc, c); err != nil {
			t.Fatal(err)
		}
		next++
	}
}

// runSleeper sleeps until there are replies, and says when each came.
func runSleeper() error {
	a, err := attach()
	if err != nil {
		return err
	}
	replies, err := queue.Open(a, "replies", nil)
	if err != nil {
		return err
	}
	in, err := replies.Consumer()
	if err != nil {
		return err
	}
	in.SetSpin(0)
	fmt.Println("sleeping")
	for {
		if _, err := in.Pop(context.Background()); err != nil {
			return err
		}
		fmt.Println("woken")
	}
}

// TestWake: a process that sleeps at a queue is woken by a program, through the ring and Go's poller, and not by its next
// look, which is half a second away.
func TestWake(t *testing.T) {
	l := newLab(t)
	s := newService(t, l, 16)
	_, at := mustNew[arena.Command](t, l.alloc)
	p := l.start(t, "sleeper")
	p.Want("sleeping")
	time.Sleep(1100 * time.Millisecond) // its naps are half a second long by then
	var times []time.Duration
	for range 9 {
		if err := s.out.TryPush(at); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, _, err := s.Serve(1); err != nil {
			t.Fatal(err)
		}
		p.Want("woken")
		times = append(times, time.Since(begin))
		time.Sleep(20 * time.Millisecond)
	}
	slices.Sort(times)
	if times[0] > 100*time.Millisecond {
		t.Errorf("woken after %v", times)
	}
	t.Logf("note: from the doorbell to the line that says woken: median %v, first %v", median(times), times[0])
}
