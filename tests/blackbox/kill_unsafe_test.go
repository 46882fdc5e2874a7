package blackbox

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"structs"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
)

func init() { programs["worker"] = runWorker }

const (
	workerCount = 4
	slotCount   = 512
	maxBlock    = 200 << 10
)

// table is what the workers share, in the heap.
type table struct {
	_ structs.HostLayout

	stop atomic.Uint64
	// candidates counts the dead workers that were found to have cleared a slot in FreeFrom: only they
	// can have leaked a block, at most one each.
	candidates atomic.Uint64
	frees      atomic.Uint64
	progress   [workerCount]atomic.Uint64 // operations of the worker in that place
	slots      [slotCount]slot
}

// slot holds one block. Who stores his PeerID in owner works on it; when he dies, whoever has recovered
// what he held takes his place.
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

// A stamp is a random number above the block's size.
const sizeBits = 18

func makeStamp(r *rand.Rand, size uint64) uint64 { return r.Uint64()<<sizeBits | size }

func stampSize(stamp uint64) uint64 { return stamp & (1<<sizeBits - 1) }

// pattern is the n-th eight bytes of a block with this stamp.
func pattern(stamp, n uint64) uint64 {
	x := (stamp + n) * 0x9e3779b97f4a7c15
	return x ^ x>>29
}

// fill writes the pattern into a block, and verify looks whether it is there. Of a large block they
// take samples, so that the allocator gets its share of the time.
func fill(p unsafe.Pointer, stamp uint64) {
	words, tail := halves(p, stampSize(stamp))
	for i := 0; i < len(words); i = nextSample(i, len(words)) {
		words[i] = pattern(stamp, uint64(i))
	}
	for i := range tail {
		tail[i] = byte(pattern(stamp, uint64(len(words)+i)))
	}
}

func verify(p unsafe.Pointer, stamp uint64) error {
	words, tail := halves(p, stampSize(stamp))
	for i := 0; i < len(words); i = nextSample(i, len(words)) {
		if words[i] != pattern(stamp, uint64(i)) {
			return fmt.Errorf("block %p of %d bytes, stamp %#x: word %d is %#x", p, stampSize(stamp), stamp, i, words[i])
		}
	}
	for i, b := range tail {
		if b != byte(pattern(stamp, uint64(len(words)+i))) {
			return fmt.Errorf("block %p of %d bytes, stamp %#x: tail byte %d is %#x", p, stampSize(stamp), stamp, i, b)
		}
	}
	return nil
}

// verifyZero looks whether a new block is zero.
func verifyZero(p unsafe.Pointer, size uint64) error {
	words, tail := halves(p, size)
	for i := 0; i < len(words); i = nextSample(i, len(words)) {
		if words[i] != 0 {
			return fmt.Errorf("block %p of %d bytes: word %d is %#x, not zero", p, size, i, words[i])
		}
	}
	for i, b := range tail {
		if b != 0 {
			return fmt.Errorf("block %p of %d bytes: tail byte %d is %#x, not zero", p, size, i, b)
		}
	}
	return nil
}

// nextSample goes through the first and the last words one by one, and of those in between takes one
// line of 64 bytes in a page.
func nextSample(i, n int) int {
	if i < 64 || i%512 != 7 || i+512 > n-64 {
		return i + 1
	}
	return i + 505
}

func halves(p unsafe.Pointer, size uint64) (words []uint64, tail []byte) {
	n := size / 8
	return unsafe.Slice((*uint64)(p), n), unsafe.Slice((*byte)(unsafe.Add(p, 8*n)), size%8)
}

// worker is one goroutine of a worker process.
type worker struct {
	box
	table  *table
	place  int
	random *rand.Rand
	source alloc.Source
	cache  *alloc.Cache // nil when the source is the allocator
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
	switch n := w.random.IntN(4000); {
	case n == 0 && w.cache != nil:
		return w.renewCache()
	case n == 1:
		_, err := w.alloc.Trim()
		return err
	case n == 2:
		return w.alloc.Check().Err()
	}
	s := &w.table.slots[w.random.IntN(slotCount)]
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
	if _, err := w.alloc.Recover(); err != nil { // what he had under way is settled before it is touched
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

// turn fills an empty slot and empties a full one, or only looks at it.
func (w *worker) turn(s *slot) error {
	stamp := s.stamp.Load()
	switch {
	case s.block == nil && stamp != 0:
		return fmt.Errorf("slot of stamp %#x without a block", stamp)
	case s.block == nil:
		return w.allocate(s)
	case stamp == 0: // left by a dead worker, between allocating and filling or behind clearing
		return w.release(s)
	}
	if err := verify(s.block, stamp); err != nil || w.random.IntN(4) == 0 {
		return err
	}
	return w.release(s)
}

func (w *worker) allocate(s *slot) error {
	size := randomSize(w.random)
	s.phase.Store(allocating)
	if err := w.source.AllocInto(&s.block, size); err != nil {
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
	s.stamp.Store(0)
	s.phase.Store(freeing)
	if err := w.source.FreeFrom(&s.block); err != nil {
		return err
	}
	s.phase.Store(idle)
	w.table.frees.Add(1)
	return nil
}

// randomSize prefers small blocks, but every order of magnitude occurs.
func randomSize(r *rand.Rand) uint64 {
	limits := []uint64{16, 256, 256, 4 << 10, 4 << 10, 32 << 10, 64 << 10, maxBlock}
	return 1 + r.Uint64N(limits[r.IntN(len(limits))])
}

// TestAllocateLinkFreeUnderKill lets workers work and kills them, one after the other, at any moment.
// In the end every block is accounted for.
func TestAllocateLinkFreeUnderKill(t *testing.T) {
	k := newKiller(t)
	k.start()
	for n := range k.kills {
		k.kill(k.random.IntN(workerCount))
		k.checkAtTimes(n)
	}
	k.finish()
}

// killer is the test's side.
type killer struct {
	t     *testing.T
	begin time.Time
	seed  uint64
	kills uint64 // how many workers are to die

	box
	table       *table
	random      *rand.Rand
	environment []string // what is added for the next worker
	workers     [workerCount]*shmtest.Process
}

func newKiller(t *testing.T) *killer {
	t.Helper()
	k := &killer{t: t, begin: time.Now(), kills: envNumber(t, "SHMHEAP_KILLS", 200), seed: newSeed(t), box: newBox(t, 256<<20)}
	k.random = rand.New(rand.NewPCG(k.seed, 1<<32))
	var err error
	if k.table, err = alloc.New[table](k.alloc); err == nil {
		err = alloc.StoreRoot(k.alloc, "table", k.table)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *killer) start() {
	k.t.Helper()
	for place := range workerCount {
		k.replace(place)
	}
}

// replace puts a new worker in a place.
func (k *killer) replace(place int) {
	k.t.Helper()
	cmd := shmtest.Command("worker", k.dir, strconv.Itoa(place), strconv.FormatUint(k.random.Uint64(), 10))
	cmd.Env = append(cmd.Env, k.environment...)
	k.workers[place] = shmtest.StartCommand(k.t, cmd)
}

// checkAtTimes checks the heap with the workers at work.
func (k *killer) checkAtTimes(n uint64) {
	k.t.Helper()
	if n%32 != 0 {
		return
	}
	if err := k.alloc.Check().Err(); err != nil {
		k.t.Errorf("check after %d kills: %v", n+1, err)
	}
}

// finish lets the workers end and accounts for every block. It returns how many have leaked.
func (k *killer) finish() uint64 {
	k.t.Helper()
	k.table.stop.Store(1)
	for _, p := range k.workers {
		if !p.Wait().Success() && !p.Killed() {
			k.failed()
		}
	}
	k.t.Logf("seed %d: %d kills, %d frees in %v", k.seed, k.kills, k.table.frees.Load(), time.Since(k.begin).Round(time.Millisecond))
	return k.account()
}

// kill waits until a worker has done a few operations, or none at all, and kills it a moment later.
func (k *killer) kill(place int) {
	k.t.Helper()
	progress, p := &k.table.progress[place], k.workers[place]
	if k.random.IntN(8) != 0 {
		k.await(p, progress, progress.Load()+1+k.random.Uint64N(64))
	}
	for range k.random.IntN(2000) { // a random moment inside of an operation
		progress.Load()
	}
	p.Kill()
	if !p.Killed() {
		k.failed()
	}
	k.replace(place)
}

// await waits for progress. A worker that makes none has to say where it is stuck.
func (k *killer) await(p *shmtest.Process, progress *atomic.Uint64, target uint64) {
	k.t.Helper()
	for end := time.Now().Add(shmtest.Patience); progress.Load() < target; time.Sleep(20 * time.Microsecond) {
		if p.Ended() {
			k.failed()
		}
		if time.Now().After(end) {
			k.t.Fatalf("worker is stuck after %d operations:\n%s", progress.Load(), p.Dump())
		}
	}
}

// failed ends the test because a worker has ended, which makes all the others end, and shows why.
func (k *killer) failed() {
	k.t.Helper()
	for place, p := range k.workers {
		k.t.Errorf("worker %d: %v\n%s", place, p.Wait(), p.Said())
	}
	k.t.FailNow()
}

// account compares what is in use with what can be reached, and returns the difference.
func (k *killer) account() uint64 {
	k.t.Helper()
	if _, err := k.alloc.Recover(); err != nil {
		k.t.Fatal(err)
	}
	k.wantClean(k.t)
	var blocks []block
	for i := range k.table.slots {
		s := &k.table.slots[i]
		if s.owner.Load() != 0 {
			s.inherit(k.table)
		}
		if s.block != nil {
			blocks = append(blocks, k.inspect(s))
		}
	}
	k.wantApart(blocks)
	reachable := uint64(len(blocks)) + 1 // the table
	live, candidates := k.stats(k.t).Live, k.table.candidates.Load()
	k.t.Logf("%d blocks in use, %d reachable, %d leaked, at most %d could be", live, reachable, int64(live-reachable), candidates)
	if live < reachable || live-reachable > candidates || candidates > 2*k.kills {
		k.t.Errorf("%d blocks in use, %d reachable; %d workers died between clearing a slot and the end of FreeFrom", live, reachable, candidates)
	}
	return live - reachable
}

// block is the place of one.
type block struct{ start, end uintptr }

// inspect looks whether the block of a slot is what it was filled with.
func (k *killer) inspect(s *slot) block {
	k.t.Helper()
	if stamp := s.stamp.Load(); stamp != 0 {
		if err := verify(s.block, stamp); err != nil {
			k.t.Error(err)
		}
	}
	size, err := k.alloc.UsableSize(s.block)
	if err != nil {
		k.t.Error(err)
	}
	return block{uintptr(s.block), uintptr(s.block) + uintptr(size)}
}

// wantApart fails the test when two blocks overlap.
func (k *killer) wantApart(blocks []block) {
	k.t.Helper()
	slices.SortFunc(blocks, func(a, b block) int { return cmp.Compare(a.start, b.start) })
	for i := 1; i < len(blocks); i++ {
		if blocks[i].start < blocks[i-1].end {
			k.t.Errorf("blocks overlap: %#x and %#x", blocks[i-1], blocks[i])
		}
	}
}
