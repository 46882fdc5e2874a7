package bench

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shmheap/shmheap/alloc"
)

func TestJobThroughArgs(t *testing.T) {
	want := &Job{
		Subject: SubjectCache, Loop: loopPairs, Sizes: sizesPairs, Workers: 3, Worker: 2,
		Time: 30 * time.Millisecond, Timed: true, CPUs: []int{0, 5},
	}
	got, err := ParseJob(want.Args())
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for _, args := range [][]string{nil, {"a", "b", "c", "2", "2", "1", "0", ","}, {"a", "b", "c", "x", "0", "1", "0", ","}} {
		if _, err := ParseJob(args); !errors.Is(err, errJob) {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// workTogether runs a workload over one heap, every worker in a goroutine with a source of its own, and
// returns what they did and how many blocks are left. They get more time when they had too little: on a busy
// machine two may miss each other.
func workTogether(t *testing.T, w *Workload, timed bool, source func(*testing.T, *alloc.Allocator) untimed) (results []*result, left uint64) {
	t.Helper()
	for limit := 5 * time.Millisecond; limit < 5*time.Second; limit *= 5 {
		job := Job{Loop: w.Loop, Sizes: w.Sizes, Workers: w.Workers, Time: limit, Timed: timed}
		results, left = workFor(t, &job, source)
		for _, r := range results {
			if r.Ops > 0 {
				return results, left
			}
		}
	}
	return results, left
}

func workFor(t *testing.T, job *Job, source func(*testing.T, *alloc.Allocator) untimed) ([]*result, uint64) {
	t.Helper()
	y, at := newBoardYard(t, uint64(job.Workers))
	results, errs := make([]*result, job.Workers), make([]error, job.Workers)
	var wait sync.WaitGroup
	for i := range job.Workers {
		mine := *job
		mine.Worker = i
		src := source(t, y.alloc)
		wait.Go(func() { results[i], errs[i] = measure(&mine, src, y.heap.Memory(), at) })
	}
	wait.Wait()
	stats, err := y.alloc.Stats()
	if err := errors.Join(append(errs, err, y.close())...); err != nil {
		t.Fatal(err)
	}
	return results, stats.Live - 1
}

// newBoardYard makes a heap with a board.
func newBoardYard(t *testing.T, workers uint64) (y *yard, boardAt uint64) {
	t.Helper()
	s := &session{Config: &Config{HeapDir: heapDir(t)}}
	y, err := s.newYard()
	if err != nil {
		t.Fatal(err)
	}
	if err := y.makeBoard(workers); err != nil {
		t.Fatal(err)
	}
	root, err := y.heap.LoadRoot(boardRoot)
	if err != nil {
		t.Fatal(err)
	}
	return y, root.Offset
}

func newCache(t *testing.T, a *alloc.Allocator) untimed {
	c, err := a.NewCache()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func itself(_ *testing.T, a *alloc.Allocator) untimed { return a }

// TestLoopsFreeWhatTheyAllocate runs every workload over caches and over the Allocator, timed and not.
func TestLoopsFreeWhatTheyAllocate(t *testing.T) {
	for _, w := range Workloads() {
		for name, source := range map[string]func(*testing.T, *alloc.Allocator) untimed{
			"cache": newCache, "allocator": itself,
		} {
			for _, timed := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/timed=%v", w.Name, name, timed), func(t *testing.T) {
					results, left := workTogether(t, &w, timed, source)
					ops := uint64(0)
					for _, r := range results {
						ops += r.Ops
					}
					if ops == 0 || left != 0 {
						t.Errorf("%d operations, %d blocks left", ops, left)
					}
				})
			}
		}
	}
}

// calls sums up a worker's timed calls.
func calls(t *testing.T, pairs [][2]uint64) uint64 {
	t.Helper()
	h, err := newHistogram(pairs)
	if err != nil {
		t.Fatal(err)
	}
	return h.Count()
}

// TestCallsAddUp counts the calls that the loops make through the stopwatch between begin and end: as many as
// the operations say.
func TestCallsAddUp(t *testing.T) {
	for _, w := range Workloads() {
		if w.special == onlyLoop {
			continue
		}
		results, _ := workTogether(t, &w, true, newCache)
		var ops, allocs, frees uint64
		for _, r := range results {
			ops, allocs, frees = ops+r.Ops, allocs+calls(t, r.Alloc), frees+calls(t, r.Free)
		}
		if slack := slackOf(&w); allocs < ops || allocs > ops+slack || frees > ops+slack || frees+slack < ops {
			t.Errorf("%s: %d calls of alloc and %d of free for %d operations", w.Name, allocs, frees, ops)
		}
	}
}

// slackOf is how many calls are no part of an operation: of blocks on their way or live at the end.
func slackOf(w *Workload) uint64 {
	switch {
	case w.handsOver():
		return 2 * ringCount
	case w.Loop == loopBatches || w.Loop == loopTouch || w.Loop == loopUntouched:
		return 8 * 32 * uint64(w.Workers)
	}
	return 0
}

// TestBlocksAreFreedByTheOther looks at the workloads that hand blocks over.
func TestBlocksAreFreedByTheOther(t *testing.T) {
	for _, w := range Workloads() {
		if w.Loop != loopPipe {
			continue
		}
		results, _ := workTogether(t, &w, true, newCache)
		in, out := results[0], results[1]
		if calls(t, out.Alloc) != 0 || calls(t, in.Free) > 1 || calls(t, out.Free) < out.Ops || in.Ops != 0 {
			t.Errorf("the taker made %d blocks and freed %d for %d operations, the giver freed %d",
				calls(t, out.Alloc), calls(t, out.Free), out.Ops, calls(t, in.Free))
		}
	}
}

func TestRingPassesEverythingInOrder(t *testing.T) {
	y, at := newBoardYard(t, 2)
	defer y.close()
	in := newBoard(y.heap.Memory(), at, 2).ring(1)
	out := newBoard(y.heap.Memory(), at, 2).ring(1)
	if _, ok := out.tryTake(); ok {
		t.Error("an empty ring gave something")
	}
	for i := range uint64(ringCount) {
		if !in.tryPut(i) {
			t.Fatalf("full with %d", i)
		}
	}
	if in.tryPut(0) {
		t.Error("a full ring took something")
	}
	for i := range uint64(ringCount + 10) {
		if v, ok := out.tryTake(); !ok || v != i {
			t.Fatalf("took %d %v, want %d", v, ok, i)
		}
		if !in.tryPut(ringCount + i) {
			t.Fatalf("no room for %d", i)
		}
	}
}

func TestBoardHasRoomForAll(t *testing.T) {
	for _, workers := range []uint64{1, 2, maxWorkers} {
		y, at := newBoardYard(t, workers)
		last := newBoard(y.heap.Memory(), at, workers).chunk(2*workers - 1)
		last[chunkCount-1].Set(1)
		if got := y.heap.Memory().Word(at + boardSize(workers) - 8).Peek(); got != 1 {
			t.Errorf("%d workers: the last word of the last table is not that of the board", workers)
		}
		if err := y.close(); err != nil {
			t.Error(err)
		}
	}
}
