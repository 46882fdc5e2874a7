package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/shmheap/shmheap/heap"
)

var points = []point{atClaimed, atWord, atNamed, atWordIn, atPosting, atFilled, atPostedIn, atWritten}

func TestWorkersTogether(t *testing.T) {
	l := newLab(t, folder(t, 60, 1), 4)
	var wg sync.WaitGroup
	for id := 1; id <= 4; id++ {
		w := l.worker(id, nil)
		wg.Go(func() {
			if _, err := l.run(w); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	walk := l.verify()
	if len(walk.Queries) != queries {
		t.Errorf("%d queries answered, want %d: %+v", len(walk.Queries), queries, walk.Queries)
	}
}

// TestCrashAnywhere kills a worker at each point, at its first, second and a
// later passing, and lets another one finish.
func TestCrashAnywhere(t *testing.T) {
	dir := folder(t, 8, 2)
	for _, at := range points {
		for _, nth := range []int{1, 2, 50} {
			t.Run(fmt.Sprintf("%s/%d", at, nth), func(t *testing.T) {
				l := newLab(t, dir, 2)
				crashed, err := l.run(l.worker(1, crashAt(at, nth)))
				if err != nil {
					t.Fatal(err)
				}
				w := l.worker(2, nil)
				if _, err := l.run(w); err != nil {
					t.Fatal(err)
				}
				l.verify()
				if takenOver := w.tally.TakenOver == 1; takenOver != crashed {
					t.Errorf("crashed: %v, tally %+v", crashed, w.tally)
				}
				wantHand(t, at, crashed, w.tally)
			})
		}
	}
}

func crashAt(at point, nth int) func(point) {
	return func(p point) {
		if p == at {
			if nth--; nth == 0 {
				panic(crash{p})
			}
		}
	}
}

// wantHand requires that what was in hand at a point was settled accordingly.
func wantHand(t *testing.T, at point, crashed bool, got Tally) {
	t.Helper()
	kept, freed := 0, 0
	switch at {
	case atWordIn, atPostedIn:
		kept = 1
	case atWord, atNamed, atPosting, atFilled:
		freed = 1
	}
	if !crashed {
		kept, freed = 0, 0
	}
	if got.Kept != kept || got.Freed != freed {
		t.Errorf("killed with %s: kept %d and freed %d, want %d and %d", at, got.Kept, got.Freed, kept, freed)
	}
}

// TestCrashWhileTakingOver kills those who take over, too, each at the n-th
// point that it passes behind the first claim of a dead peer's file.
func TestCrashWhileTakingOver(t *testing.T) {
	dir := folder(t, 6, 3)
	for n := 1; n <= 40; n += 3 {
		l := newLab(t, dir, 6)
		for id := 1; id <= 5; id++ {
			left := n
			w := l.worker(id, func(point) {
				if left--; left == 0 {
					panic(crash{})
				}
			})
			if crashed, err := l.run(w); err != nil || !crashed {
				t.Fatalf("worker %d: crashed %v, error %v", id, crashed, err)
			}
		}
		if _, err := l.run(l.worker(6, nil)); err != nil {
			t.Fatal(err)
		}
		l.verify()
	}
}

// TestCrashesAtRandom lets eight workers work at once. All but two of them
// are killed at a random point.
func TestCrashesAtRandom(t *testing.T) {
	for range 5 {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed=%#x", seed), func(t *testing.T) {
			l := newLab(t, folder(t, 40, seed), 8)
			random := rand.New(rand.NewPCG(seed, 1))
			var wg sync.WaitGroup
			for id := 1; id <= 8; id++ {
				var pass func(point)
				if id > 2 {
					pass = crashAt(points[random.IntN(len(points))], 1+random.IntN(200))
				}
				w := l.worker(id, pass)
				wg.Go(func() {
					if _, err := l.run(w); err != nil {
						t.Errorf("worker %d: %v", id, err)
					}
				})
			}
			wg.Wait()
			l.verify()
		})
	}
}

// TestDeadSettler has a hand whose settler died: the next one takes it.
func TestDeadSettler(t *testing.T) {
	l := newLab(t, folder(t, 3, 4), 3)
	if crashed, _ := l.run(l.worker(1, crashAt(atFilled, 3))); !crashed {
		t.Fatal("the worker did not crash")
	}
	settler := l.worker(2, nil)
	l.view.hands[0].Settler.Store(uint64(settler.self.id))
	last := l.worker(3, nil)
	if settled, err := last.settle(1); settled || err != nil {
		t.Fatalf("settled while peer 2 is at it: %v, %v", settled, err)
	}
	l.dead[settler.self.id] = true
	if _, err := l.run(last); err != nil {
		t.Fatal(err)
	}
	l.verify()
	if last.tally.Hands != 1 || last.tally.Freed != 1 {
		t.Errorf("tally %+v", last.tally)
	}
}

// TestStoppedIsNotDead has a worker that holds a file and does nothing: the
// others wait for it.
func TestStoppedIsNotDead(t *testing.T) {
	l := newLab(t, folder(t, 5, 5), 2)
	stopped, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	slow := l.worker(1, func(p point) {
		if p == atFilled {
			once.Do(func() { close(stopped); <-goOn })
		}
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := l.run(slow); err != nil {
			t.Error(err)
		}
	})
	<-stopped
	fast := l.worker(2, nil)
	if err := fast.takeHand(); err != nil {
		t.Fatal(err)
	}
	if err := fast.firstRound(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := fast.sweep(t.Context(), true); left != 1 || err != nil {
		t.Errorf("%d files left, error %v; want the one of the stopped worker", left, err)
	}
	close(goOn)
	wg.Wait()
	l.verify()
	if fast.tally.TakenOver != 0 {
		t.Errorf("took over %d files of a live worker", fast.tally.TakenOver)
	}
}

func TestWorkerErrors(t *testing.T) {
	l := newLab(t, folder(t, 3, 6), 1)
	w := l.worker(1, nil)
	if err := w.run(done()); !errors.Is(err, context.Canceled) {
		t.Errorf("run with a context that is over: %v", err)
	}
	if err := l.worker(2, nil).run(t.Context()); err == nil {
		t.Error("no error without a hand")
	}
	broken := errors.New("broken")
	w.self.alive = func(heap.PeerID) (bool, error) { return false, broken }
	l.view.files[0].Claim.Store(7)
	if _, err := w.sweep(t.Context(), true); !errors.Is(err, broken) {
		t.Errorf("sweep: %v", err)
	}
}
