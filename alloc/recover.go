package alloc

import (
	"fmt"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
)

// Recovered is what dead peers held and Recover returned.
type Recovered struct {
	Peers  int // processes that died with caches
	Caches int // their cache records
	Slabs  int // slabs, now nobody's
	Blocks int // free blocks in those slabs, which can be allocated again
	Spans  int // spans that were being made or taken apart, now free
}

// Recover returns what dead peers hold: the caches whose peer is gone are taken over one by one by a
// CompareAndSwap of their owner, what they had under way is settled, their slabs become nobody's and
// their claimed spans free. Blocks that they allocated stay. Live peers go on meanwhile; none waits.
//
// Any number of processes may recover at once: each dead cache is one's. A process that dies in here
// leaves caches whose owner is a dead peer again, and every step may be repeated.
//
// It returns ErrCorrupt for damaged records, having recovered the others.
func (a *Allocator) Recover() (Recovered, error) {
	dead, done, err := a.takeDead()
	if len(dead) == 0 {
		return done, err
	}
	for id := range dead {
		a.settle(id)
	}
	if e := a.returnSpans(dead, &done); e != nil && err == nil {
		err = e
	}
	for class := range layout.NumClasses {
		a.super.Orphans[class].StoreRelease(1)
	}
	for id := range dead {
		crashpoint.Hit("alloc.recover.before-free")
		a.caches[id].Owner.StoreRelease(0)
	}
	return done, err
}

// takeDead makes this peer the owner of all caches whose peer is dead.
func (a *Allocator) takeDead() (dead map[uint16]bool, done Recovered, err error) {
	dead = make(map[uint16]bool)
	peers := make(map[uint64]bool)
	mine := cacheOwner(layout.CacheRecovering, a.region.Peer())
	for id := 1; id < len(a.caches) && a.hasRecord(id); id++ {
		owner := a.caches[id].Owner.Load()
		gone, e := a.isDead(owner)
		if e != nil {
			err = a.corrupt(a.tables.Caches+uint64(id)*layout.CacheSize, "%v", e)
			continue
		}
		if gone && a.caches[id].Owner.CompareAndSwap(owner, mine) {
			crashpoint.Hit("alloc.recover.after-take")
			dead[uint16(id)] = true
			peers[uint64(ownerPeer(owner))] = true
		}
	}
	done.Caches, done.Peers = len(dead), len(peers)
	return dead, done, err
}

// hasRecord reports whether the record was ever used: records are committed in their order.
func (a *Allocator) hasRecord(id int) bool {
	return a.region.IsCommitted(a.tables.Caches + uint64(id)*layout.CacheSize)
}

func (a *Allocator) isDead(owner uint64) (bool, error) {
	if owner == 0 {
		return false, nil
	}
	p := ownerPeer(owner)
	kind := owner & (1<<layout.CacheSlotShift - 1)
	if kind > layout.CacheRecovering || cacheOwner(kind, p) != owner || p.Generation() == 0 {
		return false, fmt.Errorf("owner %#x of a cache", owner)
	}
	alive, err := a.region.Alive(p)
	return err == nil && !alive, err
}

// returnSpans walks the states once. A word costs a load; 1 TiB of granules in use is 128 MiB of them.
func (a *Allocator) returnSpans(dead map[uint16]bool, done *Recovered) (err error) {
	for g := a.first; g < a.frontier(); g++ {
		s := layout.State(a.states[g].Load())
		if s.Cache() == 0 || !dead[s.Cache()] {
			continue
		}
		if e := a.returnSpan(g, s, done); e != nil {
			err = e
		}
	}
	return err
}

func (a *Allocator) returnSpan(g uint64, s layout.State, done *Recovered) error {
	if !s.Valid() || s.Run() > a.limit-g {
		return a.corrupt(g<<layout.GranuleShift, "state %#x", uint64(s))
	}
	crashpoint.Hit("alloc.recover.before-span")
	switch s.Kind() {
	case layout.KindSlab:
		done.Slabs++
		done.Blocks += int(a.countFree(a.slab(g, s.Class())))
		return a.disown(g, s)
	case layout.KindClaimed:
		done.Spans++
		return a.releaseRun(g, s.Run())
	}
	return a.corrupt(g<<layout.GranuleShift, "state %#x has an owner", uint64(s))
}
