package crash

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/internal/shmtest"
)

const (
	stormWorkers = 8
	stormSlots   = 512
	stormSize    = 256 << 20
)

// TestStorm lets workers work and kills them, one after the other, at any moment. In the end every block is
// accounted for. It reports how long the workers' operations took: what is killed must not keep the others
// waiting.
func TestStorm(t *testing.T) {
	k := newStorm(t)
	controlled := make(chan *times)
	go control(&k.table.stop, controlled)
	k.start()
	for n := range k.kills {
		k.kill(k.random.IntN(stormWorkers))
		k.checkAtTimes(n)
	}
	k.table.stop.Store(1)
	machine := <-controlled
	k.finish()
	k.report(machine)
}

// report prints what the operations took. It asserts nothing: whoever is stuck is noticed by await.
func (k *killer) report(machine *times) {
	k.t.Helper()
	for kind := range k.table.times {
		d := &k.table.times[kind]
		k.t.Logf("note: %-12s by the clock %v", kindNames[kind], &d.clock)
		k.t.Logf("note: %-12s running      %v", "", &d.own)
	}
	k.t.Logf("note: %-12s by the clock %v", "control", &machine.clock)
	k.t.Logf("note: %-12s running      %v", "", &machine.own)
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
	workers     []*shmtest.Process
}

func newStorm(t *testing.T) *killer {
	t.Helper()
	k := newKiller(t, stormWorkers, stormSlots, stormSize)
	k.kills = envNumber(t, "SHMHEAP_STORM", 100)
	return k
}

// newKiller makes the heap for a number of workers, and slots half of which are to be full.
func newKiller(t *testing.T, workers int, slots, size uint64) *killer {
	t.Helper()
	k := &killer{t: t, begin: time.Now(), seed: newSeed(t), box: newBox(t, size), workers: make([]*shmtest.Process, workers)}
	k.random = rand.New(rand.NewPCG(k.seed, 1<<32))
	var err error
	if k.table, err = alloc.New[table](k.alloc); err == nil {
		err = alloc.StoreRoot(k.alloc, "table", k.table)
	}
	if err != nil {
		t.Fatal(err)
	}
	k.table.slotsUse.Store(slots)
	k.table.level.Store(50)
	return k
}

func (k *killer) start() {
	k.t.Helper()
	for place := range k.workers {
		k.replace(place)
	}
}

// replace puts a new worker in a place.
func (k *killer) replace(place int) {
	k.t.Helper()
	cmd := shmtest.Command("worker", k.Path(), strconv.Itoa(place), strconv.FormatUint(k.random.Uint64(), 10))
	cmd.Env = append(append(cmd.Env, "GOGC=off"), k.environment...)
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
	for end := time.Now().Add(10 * shmtest.Patience); time.Now().Before(end) && slices.ContainsFunc(k.workers, runs); {
		time.Sleep(time.Millisecond) // so many give back so much at once
	}
	for _, p := range k.workers {
		if !p.Wait().Success() && !p.Killed() {
			k.failed()
		}
	}
	k.t.Logf("note: seed %d: %d kills, %d frees in %v", k.seed, k.kills, k.table.frees.Load(), time.Since(k.begin).Round(time.Millisecond))
	return k.account()
}

func runs(p *shmtest.Process) bool { return !p.Ended() }

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
	var blocks []extent
	for i := range k.table.slots {
		s := &k.table.slots[i]
		if s.owner.Load() != 0 {
			s.inherit(k.table)
		}
		if s.block != nil {
			blocks = append(blocks, k.inspect(s))
		}
	}
	if err := apart(blocks); err != nil {
		k.t.Error(err)
	}
	reachable := uint64(len(blocks)) + 1 // the table
	live, candidates := k.stats(k.t).Live, k.table.candidates.Load()
	k.t.Logf("note: %d blocks in use, %d reachable, %d leaked, at most %d could be", live, reachable, int64(live-reachable), candidates)
	if live < reachable || live-reachable > candidates || candidates > 2*k.kills {
		k.t.Errorf("%d blocks in use, %d reachable; %d workers died between clearing a slot and the end of FreeFrom", live, reachable, candidates)
	}
	return live - reachable
}

// inspect looks whether the block of a slot is what it was filled with.
func (k *killer) inspect(s *slot) extent {
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
	return extent{uintptr(s.block), uintptr(s.block) + uintptr(size)}
}

// control does, on a thread of its own, something short that has nothing to do with a heap, and times it as
// the workers do: what it is kept waiting for is the machine's doing.
func control(stop *atomic.Uint64, done chan<- *times) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	all := make([]times, 1)
	w := newStopwatch(all)
	var sink atomic.Uint64
	for stop.Load() == 0 {
		_ = w.time(0, func() error {
			for range 100 {
				sink.Add(1)
			}
			return nil
		})
	}
	done <- &all[0]
}
