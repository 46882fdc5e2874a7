//go:build crashpoint

package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/queue"
)

func init() {
	programs["points"] = runPoints
	programs["recover"] = runRecover
}

// runPoints passes every step of every operation.
func runPoints() error {
	p, err := attach()
	if err != nil {
		return err
	}
	s, err := p.storm()
	if err != nil {
		return err
	}
	for range 4 {
		if err := s.roundTrip(); err != nil {
			return err
		}
	}
	return nil
}

// roundTrip moves a few blocks through both queues and puts one into a word.
func (s *storm) roundTrip() (err error) {
	if s.hand, err = s.hands.Hand(); err != nil {
		return err
	}
	first, err := s.hand.Port(s.queues[0])
	second, err2 := s.hand.Port(s.queues[1])
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	for range 3 {
		if _, err := s.hand.Make(100); err != nil {
			return err
		}
		if err := first.Send(context.Background()); err != nil {
			return err
		}
	}
	for range 3 {
		if _, err := first.Receive(context.Background()); err != nil {
			return err
		}
		if err := second.Send(context.Background()); err != nil {
			return err
		}
		if _, err := second.Receive(context.Background()); err != nil {
			return err
		}
		if err := s.hand.Free(); err != nil {
			return err
		}
	}
	if err := s.putAndTake(); err != nil {
		return err
	}
	return errors.Join(first.Close(), second.Close(), s.hand.Close())
}

// putAndTake puts a block into the ledger's word and frees it from there.
func (s *storm) putAndTake() error {
	if _, err := s.hand.Make(50); err != nil {
		return err
	}
	if s.ledger.word != nil {
		return s.hand.Free()
	}
	off, _ := s.heap.Memory().Offset(unsafe.Pointer(&s.ledger.word))
	if err := s.hand.Put(off); err != nil {
		return err
	}
	return s.alloc.FreeFrom(&s.ledger.word)
}

// runRecover recovers, with the hands of the dead first.
func runRecover() error {
	p, err := attach()
	if err != nil {
		return err
	}
	s, err := p.storm()
	if err != nil {
		return err
	}
	if _, err := s.hands.Recover(); err != nil {
		return err
	}
	return s.roundTrip()
}

// TestEveryPoint kills a process at every named point, lets another one recover that is killed too, and
// accounts for every block.
func TestEveryPoint(t *testing.T) {
	points := shmtest.CrashPoints(t, "../../queue")
	if len(points) < 15 {
		t.Fatalf("%d points", len(points))
	}
	for _, point := range points {
		for _, n := range []int{1, 2, 5} {
			t.Run(fmt.Sprintf("%s:%d", point, n), func(t *testing.T) {
				killAt(t, "points", fmt.Sprintf("%s:%d", point, n), "")
			})
		}
	}
	for _, first := range []string{"queue.pop.after-settle", "queue.pop.after-store", "queue.push.after-store", "alloc.into.after-store"} {
		for _, point := range points {
			if strings.Contains(point, "recover") || strings.Contains(point, "settle") ||
				strings.Contains(point, "release") || strings.Contains(point, "adopt") {
				t.Run(first+"+"+point, func(t *testing.T) { killAt(t, "points", first+":2", point) })
			}
		}
	}
}

// killAt kills the program at one point, and one that recovers at a second.
func killAt(t *testing.T, program, point, second string) {
	p := newPlace(t, 64<<20)
	s := newStorm(t, p)
	base := liveBlocks(t, p)
	run := func(program, point string) bool {
		cmd := shmtest.Command(program, p.dir)
		cmd.Env = append(cmd.Env, crashpoint.Env+"="+point)
		child := shmtest.StartCommand(t, cmd)
		if !child.Wait().Success() && !child.Killed() {
			t.Fatalf("%s at %s: %v: %s", program, point, child.Wait(), child.Said())
		}
		return child.Killed()
	}
	run(program, point)
	if second != "" {
		run("recover", second)
	}
	if _, err := s.hands.Recover(); err != nil && !errors.Is(err, heap.ErrBusy) {
		t.Fatal(err)
	}
	inQueues := s.count(t)
	held := 0
	if s.ledger.word != nil {
		held++
	}
	if live := liveBlocks(t, p); live != base+uint64(inQueues+held) {
		t.Errorf("%d blocks in use, want %d and %d in the queues and %d in the word", live, base, inQueues, held)
	}
	if err := s.alloc.FreeFrom(&s.ledger.word); err != nil {
		t.Error(err)
	}
	s.freeRest(t)
	if live := liveBlocks(t, p); live != base {
		t.Errorf("%d blocks in use, want %d", live, base)
	}
}

// count returns how many elements are in the queues, and how many a hand will receive from the dead.
func (s *storm) count(t *testing.T) (n int) {
	t.Helper()
	for _, q := range s.queues {
		n += q.Elements()
	}
	return n + s.hands.Waiting()
}

// freeRest receives everything and frees it.
func (s *storm) freeRest(t *testing.T) {
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
			if _, err = in.TryReceive(); err != nil {
				break
			}
			if err := s.hand.Free(); err != nil {
				t.Error(err)
			}
		}
		if !errors.Is(err, queue.ErrEmpty) {
			t.Error(err)
		}
		in.Close()
	}
}
