package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"structs"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/queue"
)

func init() { programs["storm"] = runStorm }

// The storm: makers make numbered blocks and send them to the first queue, movers receive them and send
// them to the second, takers receive them there and free them. All are killed at random and started
// again, and at the end each block must have gone its way once.

const (
	places   = 6       // two of each trade
	numbers  = 1 << 19 // blocks that a place may make in a round
	perLife  = 3000    // blocks that one maker makes at most
	roundLen = 500     // kills in one heap
)

// ledger is what the account is drawn from, in the heap.
type ledger struct {
	_ structs.HostLayout

	stop  atomic.Uint64
	wrong atomic.Uint64 // elements that nobody should have received
	again atomic.Uint64 // elements that came again because who had them died
	next  [2]atomic.Uint64
	word  unsafe.Pointer // of the tests at named points
	// sent is 1 when a maker has sent the block and gone on. taken is who has received it last, as a peer
	// and what it did with it.
	sent  [2 * numbers]atomic.Uint32
	taken [2 * numbers]atomic.Uint64
}

// What a taker has done with a block, in the low bits of taken.
const (
	received = 1 // holds it
	freeing  = 2 // has called Free
	freed    = 3 // is back
	kindBits = 2
)

// message is the content of a block.
type message struct {
	_      structs.HostLayout
	number uint64
	check  uint64
}

const checkFactor = 0x9e3779b97f4a7c15

// storm is what a process has of it.
type storm struct {
	place
	ledger *ledger
	hands  *queue.Hands
	queues [2]*queue.Queue
	hand   *queue.Hand
}

func (p place) storm() (*storm, error) {
	l, err := alloc.LoadRoot[ledger](p.alloc, "ledger")
	if err != nil {
		return nil, err
	}
	s := &storm{place: p, ledger: l}
	if s.hands, err = queue.OpenHands(p.alloc, "hands", 0); err != nil {
		return nil, err
	}
	for i := range s.queues {
		o := &queue.Options{Capacity: 64, Hands: s.hands}
		if s.queues[i], err = queue.Open(p.alloc, "queue "+strconv.Itoa(i), o); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func runStorm() error {
	at, err := number(2)
	if err != nil {
		return err
	}
	p, err := attach()
	if err != nil {
		return err
	}
	s, err := p.storm()
	if err != nil {
		return err
	}
	if _, err := s.hands.Recover(); err != nil && !errors.Is(err, heap.ErrBusy) {
		return err
	}
	if s.hand, err = s.hands.Hand(); err != nil {
		return err
	}
	fmt.Println("up")
	go func() { shmtest.Listen() }() // ends the process when the test is gone
	switch at % 3 {
	case 0:
		return s.makeBlocks(at / 3)
	case 1:
		return s.moveBlocks()
	}
	return s.takeBlocks()
}

func (s *storm) makeBlocks(maker int) error {
	out, err := s.hand.Port(s.queues[0])
	if err != nil {
		return err
	}
	for range perLife {
		if s.ledger.stop.Load() != 0 {
			return nil
		}
		n := s.ledger.next[maker].Add(1) - 1
		if n >= numbers {
			break
		}
		n = 2*n + uint64(maker)
		off, err := s.hand.Make(16 + n%5*100)
		if err != nil {
			return err
		}
		m, err := queue.Pointer[message](s.queues[0], off)
		if err != nil {
			return err
		}
		m.number, m.check = n, n*checkFactor
		if err := send(out); err != nil {
			return err
		}
		s.ledger.sent[n].Store(1)
	}
	for s.ledger.stop.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	return nil
}

// send sends, also where all consumers have been killed: others are on their way.
func send(out *queue.Port) error {
	for {
		if err := out.Send(context.Background()); !errors.Is(err, queue.ErrNoConsumers) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// next receives for half a second, to look whether it is over.
func (s *storm) next(in *queue.Port) (off uint64, over bool, err error) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		off, err = in.Receive(ctx)
		cancel()
		idle := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, queue.ErrNoProducers)
		if !idle {
			return off, false, err
		}
		if s.ledger.stop.Load() == 2 {
			return 0, true, nil
		}
	}
}

func (s *storm) moveBlocks() error {
	in, err := s.hand.Port(s.queues[0])
	out, err2 := s.hand.Port(s.queues[1])
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	for {
		_, over, err := s.next(in)
		if over || err != nil {
			return err
		}
		if err := send(out); err != nil {
			return err
		}
	}
}

func (s *storm) takeBlocks() error {
	in, err := s.hand.Port(s.queues[1])
	if err != nil {
		return err
	}
	me := uint64(s.heap.Peer()) << kindBits
	for {
		off, over, err := s.next(in)
		if over || err != nil {
			return err
		}
		m, err := queue.Pointer[message](s.queues[1], off)
		if err != nil {
			return err
		}
		n := m.number
		if n >= 2*numbers || m.check != n*checkFactor {
			s.ledger.wrong.Add(1)
			return fmt.Errorf("block at %#x has the content %#x, %#x", off, n, m.check)
		}
		if err := s.claim(n, me); err != nil {
			s.ledger.wrong.Add(1)
			return err
		}
		s.ledger.taken[n].Store(me | freeing)
		if err := s.hand.Free(); err != nil {
			s.ledger.wrong.Add(1)
			return fmt.Errorf("block %d: %w", n, err)
		}
		s.ledger.taken[n].Store(me | freed)
	}
}

// claim notes that the block was received. Whoever had it before must have died with it in hand.
func (s *storm) claim(n, me uint64) error {
	before := s.ledger.taken[n].Load()
	if before != 0 {
		alive, err := s.heap.Alive(heap.PeerID(before >> kindBits))
		if err != nil {
			return err
		}
		if alive || before&(1<<kindBits-1) == freed {
			return fmt.Errorf("block %d comes again: peer %v had it, alive: %t, %d",
				n, heap.PeerID(before>>kindBits), alive, before&(1<<kindBits-1))
		}
	}
	if before != 0 {
		s.ledger.again.Add(1)
	}
	if !s.ledger.taken[n].CompareAndSwap(before, me|received) {
		return fmt.Errorf("block %d was received twice at once", n)
	}
	return nil
}

// TestStorm kills producers and consumers while traffic flows.
func TestStorm(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	left := kills(t, 200)
	begin, total := time.Now(), totals{}
	for left > 0 {
		n := min(left, roundLen)
		t.Run(strconv.Itoa(left), func(t *testing.T) { stormRound(t, random, n, &total) })
		left -= n
		if t.Failed() {
			return
		}
	}
	t.Logf("note: %d kills in %v: %d blocks made, %d delivered, %d lost with their makers, %d delivered again after a taker's death, %d leaked in Free",
		total.kills, time.Since(begin).Round(time.Second), total.made, total.delivered, total.lost, total.again, total.leaked)
}

func newStorm(t *testing.T, p place) *storm {
	t.Helper()
	l, err := alloc.New[ledger](p.alloc)
	if err != nil {
		t.Fatal(err)
	}
	if err := alloc.StoreRoot(p.alloc, "ledger", l); err != nil {
		t.Fatal(err)
	}
	s, err := p.storm()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type totals struct{ kills, made, delivered, lost, again, leaked int }

func stormRound(t *testing.T, random *rand.Rand, n int, total *totals) {
	p := newPlace(t, 1<<30)
	s := newStorm(t, p)
	base := liveBlocks(t, p)
	var processes [places]*shmtest.Process
	for i := range processes {
		processes[i] = shmtest.Start(t, "storm", p.dir, strconv.Itoa(i))
	}
	for range n {
		i := random.IntN(places)
		time.Sleep(time.Duration(random.IntN(4000)) * time.Microsecond)
		if processes[i].Ended() {
			t.Fatalf("process of place %d ended: %s", i, processes[i].Said())
		}
		processes[i].Want("up")
		time.Sleep(time.Duration(random.IntN(3000)) * time.Microsecond)
		processes[i].Kill()
		total.kills++
		processes[i] = shmtest.Start(t, "storm", p.dir, strconv.Itoa(i))
	}
	s.finish(t, processes[:], total)
	s.account(t, base, total)
}

// finish stops the makers, and then, when both queues are empty, the others.
func (s *storm) finish(t *testing.T, processes []*shmtest.Process, total *totals) {
	t.Helper()
	s.ledger.stop.Store(1)
	for i := 0; i < places; i += 3 {
		processes[i].Succeed()
	}
	s.ledger.stop.Store(2)
	for _, p := range processes {
		p.Succeed()
	}
	if n := s.ledger.wrong.Load(); n != 0 {
		t.Errorf("%d blocks were wrong", n)
	}
}

// account drains what is left, which only the dead can have left, and counts everything.
func (s *storm) account(t *testing.T, base uint64, total *totals) {
	t.Helper()
	if _, err := s.hands.Recover(); err != nil {
		t.Fatal(err)
	}
	s.drain(t)
	total.again += int(s.ledger.again.Load())
	var maybe uint64 // blocks whose takers died in Free, where a block of another process's may leak
	for maker := range 2 {
		for i := range min(s.ledger.next[maker].Load(), numbers) {
			n := 2*i + uint64(maker)
			total.made++
			switch kind := s.ledger.taken[n].Load() & (1<<kindBits - 1); {
			case kind == freed:
				total.delivered++
			case kind == freeing:
				total.delivered++
				maybe++
			case s.ledger.sent[n].Load() != 0:
				t.Errorf("block %d was sent and is lost", n)
			default:
				total.lost++
			}
		}
	}
	live := liveBlocks(t, s.place)
	if live < base || live > base+maybe {
		t.Errorf("%d blocks in use, want %d and at most %d that leaked in Free", live, base, maybe)
	}
	total.leaked += int(live - base)
	for _, p := range s.alloc.Check().Problems {
		t.Error("check: ", p)
	}
}

// drain takes what is in the queues and with orphans.
func (s *storm) drain(t *testing.T) {
	t.Helper()
	var err error
	if s.hand, err = s.hands.Hand(); err != nil {
		t.Fatal(err)
	}
	for _, q := range s.queues {
		in, err := s.hand.Port(q)
		if err != nil {
			t.Fatal(err)
		}
		for {
			off, err := in.TryReceive()
			if errors.Is(err, queue.ErrEmpty) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			m, err := queue.Pointer[message](q, off)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.claim(m.number, uint64(s.heap.Peer())<<kindBits); err != nil {
				t.Error(err)
			}
			s.ledger.taken[m.number].Store(uint64(s.heap.Peer())<<kindBits | freed)
			if err := s.hand.Free(); err != nil {
				t.Error(err)
			}
		}
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := s.hand.Close(); err != nil {
		t.Error(err)
	}
}

func liveBlocks(t *testing.T, p place) uint64 {
	t.Helper()
	if _, err := p.alloc.Recover(); err != nil {
		t.Fatal(err)
	}
	s, err := p.alloc.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return s.Live
}
