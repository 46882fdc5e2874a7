package crash

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"structs"
	"sync/atomic"
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/shmtest"
)

func init() { programs["worker"] = runWorker }

const (
	maxWorkers = 64
	maxSlots   = 8192
	maxBlock   = 200 << 10
)

// table is what the workers share, in the heap.
type table struct {
	_ structs.HostLayout

	stop     atomic.Uint64
	slotsUse atomic.Uint64 // slots in use
	level    atomic.Uint64 // percentage of those that are to be full
	// candidates counts the dead workers that were found to have cleared a slot in FreeFrom: only they
	// can have leaked a block, at most one each.
	candidates atomic.Uint64
	frees      atomic.Uint64
	progress   [maxWorkers]atomic.Uint64 // operations of the worker in that place
	times      [operationKinds]times
	slots      [maxSlots]slot
}

// slot holds one block. Who stores his PeerID in owner works on it; when he dies, whoever has recovered
// what he held takes his place. So blocks are freed by whoever comes along.
type slot struct {
	_ structs.HostLayout

	owner atomic.Uint64
	phase atomic.Uint64
	stamp atomic.Uint64 // what the block is filled with, and its size; 0 while it is not filled
	block unsafe.Pointer
}

// Phases of a slot.
const (
	idle = iota
	allocating
	freeing
)

// worker is one goroutine of a worker process.
type worker struct {
	box
	table  *table
	place  int
	random *rand.Rand
	source alloc.Source
	cache  *alloc.Cache // nil when the source is the allocator
	clock  *stopwatch
}

// runWorker allocates, frees and takes over from the dead until it is told to stop: in one goroutine
// with a cache of its own, and in one with those of the allocator.
func runWorker() error {
	place, err := strconv.Atoi(os.Args[2])
	seed, err2 := strconv.ParseUint(os.Args[3], 10, 64)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	go func() { shmtest.Listen() }() // ends the process when the test is gone
	b, err := attach()
	if err != nil {
		return err
	}
	table, err := alloc.LoadRoot[table](b.alloc, "table")
	if err != nil {
		return err
	}
	errs := make(chan error)
	for i := range uint64(2) {
		w := &worker{box: b, table: table, place: place, random: rand.New(rand.NewPCG(seed, i)), source: b.alloc}
		go func() { errs <- w.run(i == 0) }()
	}
	return errors.Join(<-errs, <-errs, b.Close())
}

func (w *worker) run(ownCache bool) error {
	runtime.LockOSThread() // whose waiting for a processor is measured
	w.clock = newStopwatch(w.table.times[:])
	if ownCache {
		if err := w.renewCache(); err != nil {
			return err
		}
	}
	for w.table.stop.Load() == 0 {
		if err := w.step(); err != nil {
			w.table.stop.Store(1) // nobody covers the traces
			return err
		}
		w.table.progress[w.place].Add(1)
	}
	return nil
}

func (w *worker) renewCache() (err error) {
	if w.cache != nil {
		if err := w.cache.Close(); err != nil {
			return err
		}
	}
	if w.cache, err = w.alloc.NewCache(); err == nil {
		w.source = w.cache
	}
	return err
}

// step works on a random slot. Now and then it does something else.
func (w *worker) step() error {
	switch n := w.random.IntN(40_000); {
	case n < 10 && w.cache != nil:
		return w.renewCache()
	case n == 10:
		_, err := w.alloc.Trim()
		return err
	case n < 20:
		return w.alloc.Check().Err()
	}
	s := &w.table.slots[w.random.Uint64N(w.table.slotsUse.Load())]
	got, err := w.take(s)
	if err != nil || !got {
		return err
	}
	if err := w.turn(s); err != nil {
		return err
	}
	s.owner.Store(0)
	return nil
}

// take makes this process the owner of a slot that is nobody's or a dead one's.
func (w *worker) take(s *slot) (bool, error) {
	owner := s.owner.Load()
	if owner == 0 {
		return s.owner.CompareAndSwap(0, uint64(w.Peer())), nil
	}
	alive, err := w.Alive(heap.PeerID(owner))
	if err != nil || alive {
		return false, err
	}
	// What he had under way is settled before it is touched.
	err = w.clock.time(recovering, func() error { _, err := w.alloc.Recover(); return err })
	if err != nil {
		return false, err
	}
	if !s.owner.CompareAndSwap(owner, uint64(w.Peer())) {
		return false, nil
	}
	s.inherit(w.table)
	return true, nil
}

// inherit looks at what the dead owner of a slot has left.
func (s *slot) inherit(t *table) {
	if s.phase.Load() == freeing && s.block == nil {
		t.candidates.Add(1)
	}
	s.phase.Store(idle)
}

// turn fills or empties the slot, or only looks at it.
func (w *worker) turn(s *slot) error {
	stamp := s.stamp.Load()
	fill := w.random.Uint64N(100) < w.table.level.Load()
	switch {
	case s.block == nil && stamp != 0:
		return fmt.Errorf("slot of stamp %#x without a block", stamp)
	case s.block == nil && fill:
		return w.allocate(s)
	case s.block == nil:
		return nil
	case stamp == 0: // left by a dead worker, between allocating and filling or behind clearing
		return w.release(s)
	}
	if err := verify(s.block, stamp); err != nil || fill {
		return err
	}
	return w.release(s)
}

func (w *worker) allocate(s *slot) error {
	size := randomSize(w.random)
	s.phase.Store(allocating)
	err := w.clock.time(kindOf(allocatingSmall, size), func() error { return w.source.AllocInto(&s.block, size) })
	if err != nil {
		return err
	}
	if err := verifyZero(s.block, size); err != nil {
		return err
	}
	stamp := makeStamp(w.random, size)
	fill(s.block, stamp)
	s.stamp.Store(stamp)
	s.phase.Store(idle)
	return nil
}

func (w *worker) release(s *slot) error {
	size := stampSize(s.stamp.Swap(0))
	s.phase.Store(freeing)
	err := w.clock.time(kindOf(freeingSmall, size), func() error { return w.source.FreeFrom(&s.block) })
	if err != nil {
		return err
	}
	s.phase.Store(idle)
	w.table.frees.Add(1)
	return nil
}

// kindOf makes the kind of a small operation that of a large one where the size wants it.
func kindOf(small int, size uint64) int {
	if size > layout.MaxSmall {
		return small + 1
	}
	return small
}

// randomSize prefers small blocks, but every order of magnitude occurs.
func randomSize(r *rand.Rand) uint64 {
	limits := []uint64{16, 256, 256, 4 << 10, 4 << 10, 32 << 10, 64 << 10, maxBlock}
	return 1 + r.Uint64N(limits[r.IntN(len(limits))])
}
