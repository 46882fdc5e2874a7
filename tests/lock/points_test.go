//go:build crashpoint

package lock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/lock"
)

func init() {
	programs["heir"] = runHeir
	programs["dead"] = runDead
}

// runDead dies with everything that can be held.
func runDead() error {
	h, v, err := attach[desk](false, os.Args[1])
	if err != nil {
		return err
	}
	ctx := context.Background()
	err = errors.Join(v.mutex.Lock(ctx, h), v.guard.Lock(ctx, h), v.permits.Acquire(ctx, h), v.rw.RLock(ctx, h))
	if err != nil {
		return err
	}
	v.pair[0]++
	v.begun[doomed].Add(1)
	return v.once[0].Do(ctx, h, func(bool) error {
		v.runs[0].Add(1)
		sys.KillSelf()
		return nil
	})
}

// runHeir takes turns until it dies, or has taken very many.
func runHeir() error {
	h, v, err := attach[desk](false, os.Args[1])
	if err != nil {
		return err
	}
	limit, err := strconv.Atoi(os.Args[2])
	for n := 0; n < limit && err == nil; n++ {
		if err := v.turn(h, doomed, n); err != nil {
			return err
		}
		v.turning.Add(1)
	}
	return errors.Join(err, h.Close())
}

// TestEveryPoint kills a process that has inherited locks at every named point, while another one takes
// turns with it. That one goes on, and what was counted under the locks is right. Some points are passed
// once or twice, when a lock is inherited.
func TestEveryPoint(t *testing.T) {
	all := shmtest.CrashPoints(t, "../../lock")
	if len(all) < 18 {
		t.Fatalf("%d points", len(all))
	}
	kills := 0
	for _, point := range all {
		for n, limit := range map[int]int{1: 5000, 2: 20, 7: 20} {
			t.Run(fmt.Sprintf("%s:%d", point, n), func(t *testing.T) {
				died := dieAt(t, fmt.Sprintf("%s:%d", point, n), limit)
				if died {
					kills++
				} else if n == 1 {
					t.Error("was not passed")
				}
			})
		}
	}
	t.Logf("note: %d kills at %d points", kills, len(all))
}

// dieAt reports whether the heir died there before it had taken so many turns.
func dieAt(t *testing.T, point string, limit int) bool {
	t.Helper()
	dir := newDir(t)
	h, v, err := attach[desk](true, dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.permits.Init(2), v.barrier.Init(2)); err != nil {
		t.Fatal(err)
	}
	if p := shmtest.Start(t, "dead", dir); !p.Killed() {
		t.Fatal(p.Said())
	}
	cmd := shmtest.Command("heir", dir, strconv.Itoa(limit))
	cmd.Env = append(cmd.Env, crashpoint.Env+"="+point)
	heir := shmtest.StartCommand(t, cmd)
	shmtest.Until(t, "a turn", func() bool { return v.turning.Load() > 0 || heir.Ended() })
	survive(t, h, v, heir.Ended)
	if !heir.Killed() {
		heir.Succeed()
	}
	v.audit(t, h)
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	return heir.Killed()
}

// survive takes turns until the other one has died, and then some. That must not take for ever.
func survive(t *testing.T, h *heap.Heap, v *desk, dead func() bool) {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		n := 0
		for ; !dead(); n++ {
			if err := v.turn(h, survivor, n); err != nil {
				ended <- err
				return
			}
		}
		for i := range onces {
			if err := v.useOnce(h, i); err != nil {
				ended <- err
				return
			}
		}
		ended <- errors.Join(v.turn(h, survivor, n), v.turn(h, survivor, n+1))
	}()
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(shmtest.Patience):
		t.Fatalf("stuck, the other one took %d turns", v.turning.Load())
	}
}

// audit draws the account when nobody is left but the survivor.
func (v *desk) audit(t *testing.T, h *heap.Heap) {
	t.Helper()
	begun, done := v.begun[0].Load()+v.begun[1].Load(), v.done[0].Load()+v.done[1].Load()
	if v.pair[0] != v.pair[1] || v.pair[0] > begun || v.pair[0] < done || begun-done > 2 {
		t.Errorf("counted %v, begun %d, done %d", v.pair, begun, done)
	}
	if v.rwPair[0] != v.rwPair[1] {
		t.Errorf("writers left %v", v.rwPair)
	}
	for i := range v.once {
		if n := v.runs[i].Load(); n == 0 || n > 3 || !v.once[i].Done() {
			t.Errorf("number %d was run %d times", i, n)
		}
	}
	for range 2 {
		if err := v.permits.TryAcquire(h); err != nil {
			t.Error("permit:", err)
		}
	}
	if err := v.permits.TryAcquire(h); !errors.Is(err, lock.ErrLocked) {
		t.Error("a third permit:", err)
	}
}
