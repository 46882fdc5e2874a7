package alloc

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmheap/shmheap/internal/layout"
)

// Freed granules keep their storage for whoever needs them next, as giving it back and getting it again costs
// some 10 us a granule. What is kept is bounded: when this process has freed more than it has taken again
// by the allowance, it counts the heap and gives back what is too much, the highest granules first.
//
//	allowance = 1 MiB + 1/32 of what is in use + what was needed again too soon
//
// The last term grows by what is needed within a moment of some being given back, so a heap that breathes
// keeps what it needs for the next breath; it shrinks by half with each count that comes later than that.
// Nothing of this lies in the heap, so there is nothing to recover.
type retention struct {
	freed atomic.Int64 // granules freed with their storage, less those taken again, since the last count

	mu      sync.Mutex
	allowed atomic.Int64 // granules, as of the last count, and what took added since
	extra   int64
	punched time.Time // when storage was given back last
}

const (
	retainAlways  = 1 << 20 >> layout.GranuleShift
	retainPart    = 32
	retainMoment  = time.Second
	retainAtATime = 16 << 20 >> layout.GranuleShift // granules given back by one call
)

func (r *retention) init() { r.allowed.Store(retainAlways) }

// took notes that n granules were claimed, of which fresh had no storage. It waits for nobody: who gives
// back at this moment may take milliseconds.
func (r *retention) took(n, fresh uint64) {
	r.freed.Add(-int64(n - fresh))
	if fresh == 0 || !r.mu.TryLock() {
		return
	}
	defer r.mu.Unlock()
	if !r.punched.IsZero() && time.Since(r.punched) < retainMoment {
		r.extra += int64(fresh)
		r.allowed.Add(int64(fresh))
	}
}

// retain notes that n granules were freed and gives storage back when that makes too many.
func (c *Cache) retain(n uint64) {
	r := &c.a.retention
	if r.freed.Add(int64(n)) <= r.allowed.Load() || !r.mu.TryLock() {
		return
	}
	defer r.mu.Unlock()
	idle, used := c.a.countStorage()
	if time.Since(r.punched) > retainMoment {
		r.extra /= 2
	}
	allowed := retainAlways + used/retainPart + r.extra
	if idle > allowed {
		idle -= c.giveBack(min(idle-allowed+retainAlways/2, retainAtATime))
		r.punched = time.Now()
	}
	r.allowed.Store(allowed)
	r.assertBounds(idle, used)
	r.freed.Store(idle)
}

// countStorage counts the free granules that have storage, and those in use.
func (a *Allocator) countStorage() (idle, used int64) {
	for g := a.first; g < a.frontier(); g++ {
		if a.states[g].Load() != 0 {
			used++
		} else if a.hasStorage(g) {
			idle++
		}
	}
	return idle, used
}

// giveBack gives the storage of about n free granules back, from the end of the heap, and returns of how many.
func (c *Cache) giveBack(n int64) (given int64) {
	a := c.a
	for g := a.frontier(); g > a.first && given < n; {
		end := g
		for g > a.first && end-g < trimLimit && a.states[g-1].Load() == 0 && a.hasStorage(g-1) {
			g--
		}
		if g == end {
			g--
			continue
		}
		got, err := c.trimFrom(g)
		if err != nil {
			return given // what was not given back is counted next time
		}
		given += int64(got)
	}
	return given
}
