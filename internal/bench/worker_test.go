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
// returns what they did and how many blocks are left.
func workTogether(t *testing.T, w *Workload, timed bool, source func(*alloc.Allocator) untimed) ([]*result, uint64) {
	t.Helper()
	s := &session{Config: &Config{HeapDir: heapDir(t)}}
	y, err := s.newYard()
	if err != nil {
		t.Fatal(err)
	}
	defer y.close()
	if err := y.makeBoard(uint64(w.Workers)); err != nil {
		t.Fatal(err)
	}
	root, err := y.heap.LoadRoot(boardRoot)
	if err != nil {
		t.Fatal(err)
	}
	results, errs := make([]*result, w.Workers), make([]error, w.Workers)
	var wait sync.WaitGroup
	for i := range w.Workers {
		job := &Job{Loop: w.Loop, Sizes: w.Sizes, Workers: w.Workers, Worker: i, Time: 5 * time.Millisecond, Timed: timed}
		src := source(y.alloc)
		wait.Go(func() { results[i], errs[i] = measure(job, src, y.heap.Memory(), root.Offset) })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	stats, err := y.alloc.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return results, stats.Live - 1
}

func newCache(t *testing.T) func(*alloc.Allocator) untimed {
	return func(a *alloc.Allocator) untimed {
		c, err := a.NewCache()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

// TestLoopsFreeWhatTheyAllocate runs every workload over caches and over the Allocator, timed and not.
func TestLoopsFreeWhatTheyAllocate(t *testing.T) {
	for _, w := range Workloads() {
		for name, source := range map[string]func(*alloc.Allocator) untimed{
			"cache":     newCache(t),
			"allocator": func(a *alloc.Allocator) untimed { return a },
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

// TestCallsAddUp counts the calls that the loops make through the stopwatch: as many blocks are freed as
// allocated, and as many as the operations say.
func TestCallsAddUp(t *testing.T) {
	setUp := map[string]uint64{ // blocks of each worker that are no part of an operation
		loopPairs: 512, loopReplace: 2048, loopLarson: 2 * chunkCount, loopMstress: 1000, loopScratch: 1,
	}
	for _, w := range Workloads() {
		if w.special == onlyEmpty {
			continue
		}
		results, _ := workTogether(t, &w, true, newCache(t))
		var ops, allocs, frees uint64
		for _, r := range results {
			ops, allocs, frees = ops+r.Ops, allocs+calls(t, r.Alloc), frees+calls(t, r.Free)
		}
		want := ops + setUp[w.Loop]*uint64(w.Workers)
		if allocs != frees {
			t.Errorf("%s: %d calls of alloc, %d of free", w.Name, allocs, frees)
		}
		// What was under way at the end is no operation.
		if slack := uint64(2 * ringCount); allocs < want || allocs > want+slack || !w.handsOver() && allocs != want {
			t.Errorf("%s: %d calls for %d operations, want %d", w.Name, allocs, ops, want)
		}
	}
}

// TestBlocksAreFreedByTheOther looks at the workloads that hand blocks over.
func TestBlocksAreFreedByTheOther(t *testing.T) {
	for _, w := range Workloads() {
		if w.Loop != loopPipe {
			continue
		}
		results, _ := workTogether(t, &w, true, newCache(t))
		in, out := results[0], results[1]
		if calls(t, out.Alloc) != 0 || calls(t, in.Free) > 1 || calls(t, out.Free) < out.Ops || in.Ops != 0 {
			t.Errorf("the taker made %d blocks and freed %d for %d operations, the giver freed %d",
				calls(t, out.Alloc), calls(t, out.Free), out.Ops, calls(t, in.Free))
		}
	}
}

func TestRingPassesEverythingInOrder(t *testing.T) {
	s := &session{Config: &Config{HeapDir: heapDir(t)}}
	y, err := s.newYard()
	if err != nil {
		t.Fatal(err)
	}
	defer y.close()
	if err := y.makeBoard(2); err != nil {
		t.Fatal(err)
	}
	root, err := y.heap.LoadRoot(boardRoot)
	if err != nil {
		t.Fatal(err)
	}
	in := newBoard(y.heap.Memory(), root.Offset, 2).ring(1)
	out := newBoard(y.heap.Memory(), root.Offset, 2).ring(1)
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
		size := boardSize(workers)
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
		b := newBoard(y.heap.Memory(), root.Offset, workers)
		last := b.chunk(2*workers - 1)
		last[chunkCount-1].Set(1)
		end := root.Offset + size - 8
		if got := y.heap.Memory().Word(end).Peek(); got != 1 {
			t.Errorf("%d workers: the last word of the last table is not that of the board", workers)
		}
		if err := y.close(); err != nil {
			t.Error(err)
		}
	}
}
