package crash

import (
	"os"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/sys"
)

// TestSoak lets many processes fill and empty a heap, again and again, for as many seconds as SHMHEAP_SOAK
// says, and kills one now and then. The heap is checked all the time and accounted for in the end, and
// what was freed goes back to the system.
func TestSoak(t *testing.T) {
	lasts := time.Duration(envNumber(t, "SHMHEAP_SOAK", 3)) * time.Second
	workers := maxWorkers
	if lasts < 20*time.Second { // they would only start
		workers = 8
	}
	// Each of up to 192 live caches keeps a slab of each class: 800 MiB that nobody else can have.
	k := newKiller(t, workers, maxSlots, 4<<30)
	k.environment = []string{"GOGC=100"} // they live long
	k.start()
	half := max(lasts/20, time.Second)
	for round := 0; time.Since(k.begin) < lasts; round++ {
		k.phase(round, "full ", 95, half)
		k.phase(round, "empty", 2, half)
	}
	k.finish()
	k.empty()
}

// phase lets the workers bring the heap to a level, kills some, and checks.
func (k *killer) phase(round int, name string, level uint64, lasts time.Duration) {
	k.t.Helper()
	k.table.level.Store(level)
	for end := time.Now().Add(lasts); time.Now().Before(end); time.Sleep(max(lasts/8, 100*time.Millisecond)) {
		k.kill(k.random.IntN(len(k.workers)))
		k.kills++
	}
	if err := k.alloc.Check().Err(); err != nil {
		k.t.Fatalf("check: %v", err)
	}
	s := k.stats(k.t)
	k.t.Logf("note: %4.0f s, round %d, %s: %5d blocks of %4d MiB in use, %4d MiB committed, %4d MiB of storage",
		time.Since(k.begin).Seconds(), round, name, s.Live, s.LiveBytes>>20, s.Committed>>20, k.storage()>>20)
}

// storage returns how many bytes the heap's file takes.
func (k *killer) storage() uint64 {
	k.t.Helper()
	f, err := os.Open(k.Path())
	if err != nil {
		k.t.Fatal(err)
	}
	defer f.Close()
	st, err := sys.Stat(f)
	if err != nil {
		k.t.Fatal(err)
	}
	return uint64(st.Allocated)
}

// empty frees what the workers left and wants it to be gone: from the heap, and from the system.
func (k *killer) empty() {
	k.t.Helper()
	before := k.storage()
	leaked := k.stats(k.t).Live - 1
	for i := range k.table.slots {
		s := &k.table.slots[i]
		if s.block == nil {
			continue
		}
		leaked--
		if err := k.alloc.FreeFrom(&s.block); err != nil {
			k.t.Fatal(err)
		}
	}
	if _, err := k.alloc.Trim(); err != nil {
		k.t.Fatal(err)
	}
	k.wantClean(k.t)
	s := k.stats(k.t)
	if s.Live != 1+leaked {
		k.t.Errorf("all was freed, %d leaked, and there is %+v", leaked, s)
	}
	k.t.Logf("note: in the end %d blocks in use, %d slabs, %d MiB of storage, before %d", s.Live, s.Slabs, k.storage()>>20, before>>20)
}
