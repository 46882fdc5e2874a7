package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"structs"
	"syscall"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/lock"
	"github.com/shmheap/shmheap/queue"
)

func init() { programs["idle"] = runIdle }

// How long waiters are watched, and how much of that time of one processor all of them together may use.
// Before that their sleeps have become as long as they get.
const (
	idleSettle = 1200 * time.Millisecond
	idleTime   = 3 * time.Second
	idleLimit  = idleTime / 100
)

// held are locks that the test has and others wait for.
type held struct {
	_ structs.HostLayout

	mutex, condMutex lock.Mutex
	written, read    lock.RWMutex
	cond             lock.Cond
	permits          lock.Semaphore
	once             lock.Once
	barrier          lock.Barrier
}

// bed is something that one waits for in vain.
type bed struct {
	name string
	wait func(context.Context) error
}

// runIdle waits for everything at once, and says how much processor time that took. Then it gives up.
func runIdle() error {
	p, err := attach()
	if err != nil {
		return err
	}
	beds, err := p.beds()
	if err != nil {
		return err
	}
	if os.Args[2] == "spinning" {
		beds = []bed{p.spinner()}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, len(beds))
	for _, b := range beds {
		go func() {
			if err := b.wait(ctx); !errors.Is(err, context.Canceled) {
				ended <- fmt.Errorf("%s did not wait: %w", b.name, err)
				return
			}
			ended <- nil
		}()
	}
	time.Sleep(idleSettle)
	before := processorTime()
	time.Sleep(idleTime)
	fmt.Println(len(beds), int64(processorTime()-before))
	shmtest.Listen()
	cancel()
	for range beds {
		err = errors.Join(err, <-ended)
	}
	return err
}

// processorTime is what the process has used, in the kernel too.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// beds are all ways to wait.
func (p place) beds() (all []bed, err error) {
	for _, some := range []func() ([]bed, error){p.queueBeds, p.handBeds, p.pairBeds, p.lockBeds} {
		beds, e := some()
		all, err = append(all, beds...), errors.Join(err, e)
	}
	return all, err
}

func (p place) queueBeds() (beds []bed, err error) {
	for i, k := range []queue.Kind{queue.SPSC, queue.MPSC, queue.MPMC, queue.MPMC} {
		q, e := queue.Open(p.alloc, fmt.Sprintf("empty %d", k), &queue.Options{Kind: k})
		if e != nil {
			return nil, e
		}
		c, e := q.Consumer()
		err = errors.Join(err, e)
		beds = append(beds, bed{fmt.Sprintf("consumer %d", i), func(ctx context.Context) error {
			_, err := c.Pop(ctx)
			return err
		}})
	}
	q, e := queue.Open(p.alloc, "full", &queue.Options{Capacity: 2})
	if e != nil {
		return nil, e
	}
	out, e := q.Producer()
	beds = append(beds, bed{"producer", func(ctx context.Context) error {
		return out.Push(ctx, p.heap.Geometry().Sections.Data)
	}})
	return beds, errors.Join(err, e)
}

// spinner looks at a queue all the time: the measurement must see it.
func (p place) spinner() bed {
	return bed{"spinner", func(ctx context.Context) error {
		q, err := queue.Open(p.alloc, "empty 3", nil)
		if err != nil {
			return err
		}
		c, err := q.Consumer()
		if err != nil {
			return err
		}
		c.SetSpin(idleSettle + 2*idleTime)
		_, err = c.Pop(ctx)
		return err
	}}
}

// handBeds wait for blocks, requests and replies.
func (p place) handBeds() ([]bed, error) {
	hs, err := queue.OpenHands(p.alloc, "hands", 0)
	if err != nil {
		return nil, err
	}
	var queues [3]*queue.Queue
	var hands [3]*queue.Hand
	for i := range queues {
		var e error
		queues[i], e = queue.Open(p.alloc, fmt.Sprintf("blocks %d", i), &queue.Options{Hands: hs})
		err = errors.Join(err, e)
		hands[i], e = hs.Hand()
		err = errors.Join(err, e)
	}
	if err != nil {
		return nil, err
	}
	port, err := hands[0].Port(queues[0])
	answerer, err2 := queue.NewAnswerer(hands[1], queues[1])
	asker, err3 := queue.NewAsker(hands[2], queues[1], queues[2])
	return []bed{
		{"hand", func(ctx context.Context) error { _, err := port.Receive(ctx); return err }},
		{"answerer", func(ctx context.Context) error { _, err := answerer.Next(ctx); return err }},
		{"asker", func(ctx context.Context) error { _, _, err := asker.Reply(ctx); return err }},
	}, errors.Join(err, err2, err3)
}

// pairBeds are the mailbox's and the broadcast ring's.
func (p place) pairBeds() ([]bed, error) {
	asks, err := queue.OpenMailbox(p.alloc, "asks")
	serves, err2 := queue.OpenMailbox(p.alloc, "serves")
	ring, err3 := queue.OpenBroadcast(p.alloc, "ring", &queue.BroadcastOptions{})
	if err := errors.Join(err, err2, err3); err != nil {
		return nil, err
	}
	client, err := asks.Client()
	server, err2 := serves.Server()
	reader := ring.Reader()
	return []bed{
		{"client", func(ctx context.Context) error { return client.Call(ctx, make([]uint64, 2)) }},
		{"server", func(ctx context.Context) error { return server.Next(ctx, make([]uint64, 2)) }},
		{"reader", func(ctx context.Context) error { _, err := reader.Read(ctx, make([]uint64, 7)); return err }},
	}, errors.Join(err, err2)
}

func (p place) lockBeds() ([]bed, error) {
	v, err := alloc.LoadRoot[held](p.alloc, "held")
	h := p.heap
	return []bed{
		{"mutex", func(ctx context.Context) error { return v.mutex.Lock(ctx, h) }},
		{"mutex again", func(ctx context.Context) error { return v.mutex.Lock(ctx, h) }},
		{"reader lock", func(ctx context.Context) error { return v.written.RLock(ctx, h) }},
		{"writer lock", func(ctx context.Context) error { return v.read.Lock(ctx, h) }},
		{"semaphore", func(ctx context.Context) error { return v.permits.Acquire(ctx, h) }},
		{"once", func(ctx context.Context) error { return v.once.Do(ctx, h, func(bool) error { return nil }) }},
		{"barrier", func(ctx context.Context) error { return v.barrier.Wait(ctx, h) }},
		{"cond", func(ctx context.Context) error {
			err := v.condMutex.Lock(ctx, h)
			for err == nil {
				err = v.cond.Wait(ctx, h, &v.condMutex)
			}
			return err
		}},
	}, err
}

// hold makes what the others wait for: every queue has somebody at its other end, and every lock a holder.
func (p place) hold(t *testing.T) {
	t.Helper()
	v, err := alloc.New[held](p.alloc)
	if err != nil {
		t.Fatal(err)
	}
	h, ctx := p.heap, t.Context()
	over, ended := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(over); <-ended }) // before the heap is closed
	taken := make(chan struct{})
	go func() {
		defer close(ended)
		v.once.Do(ctx, h, func(bool) error { close(taken); <-over; return errors.New("over") })
	}()
	<-taken
	err = errors.Join(v.permits.Init(1), v.barrier.Init(2), v.mutex.Lock(ctx, h), v.written.Lock(ctx, h), v.read.RLock(ctx, h),
		v.permits.Acquire(ctx, h), alloc.StoreRoot(p.alloc, "held", v))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []queue.Kind{queue.SPSC, queue.MPSC, queue.MPMC} {
		q, err := queue.Open(p.alloc, fmt.Sprintf("empty %d", k), &queue.Options{Kind: k})
		if err == nil {
			_, err = q.Producer()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	p.fill(t)
	asks, err := queue.OpenMailbox(p.alloc, "asks")
	serves, err2 := queue.OpenMailbox(p.alloc, "serves")
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	_, err = asks.Server()
	_, err2 = serves.Client()
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
}

// fill fills the queue that has no room.
func (p place) fill(t *testing.T) {
	t.Helper()
	q, err := queue.Open(p.alloc, "full", &queue.Options{Capacity: 2})
	if err != nil {
		t.Fatal(err)
	}
	out, err := q.Producer()
	_, err2 := q.Consumer()
	for range 2 {
		if err == nil {
			err = out.TryPush(p.heap.Geometry().Sections.Data)
		}
	}
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
}

// TestIdle: who waits, for whatever there is to wait for, uses no processor. The time is the processor's, so
// a busy machine makes no difference.
func TestIdle(t *testing.T) {
	if sys.WaitMethod == sys.WaitPoll {
		shmtest.SkipAnywhere(t, "this build looks again and again")
	}
	p := newPlace(t, 64<<20)
	p.hold(t)
	var used [2]time.Duration
	for i, how := range []string{"asleep", "spinning"} {
		waiters := 0
		child := shmtest.Start(t, "idle", p.dir, how)
		if _, err := fmt.Sscan(child.Hear(), &waiters, &used[i]); err != nil {
			t.Fatal(err)
		}
		child.Tell("over")
		child.Succeed()
		t.Logf("note: %d waiters, %s, used %v of %v", waiters, how, used[i], idleTime)
	}
	limit := idleLimit
	if shmtest.Programs() != "" { // an emulated processor is slow, and counts what it is kept waiting as used
		limit *= 5
	}
	if used[0] > limit {
		t.Errorf("waiters used %v of %v, more than %v", used[0], idleTime, limit)
	}
	if used[1] <= limit {
		t.Errorf("one that spins used %v only: this test sees nothing", used[1])
	}
}
