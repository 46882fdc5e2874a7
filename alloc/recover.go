package alloc

import (
	"errors"
	"fmt"
	"time"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
)

// Recovered is what dead peers held and Recover returned.
type Recovered struct {
	Peers   int // processes that died with caches
	Caches  int // their cache records
	Slabs   int // slabs, now nobody's
	Blocks  int // free blocks in those slabs, which can be allocated again
	Spans   int // spans that were being made or taken apart, now free
	Private int // blocks that were private and not published, now free
	Arenas  int // arenas that were not published, now free
}

func (r *Recovered) add(o Recovered) {
	r.Peers, r.Caches, r.Slabs = r.Peers+o.Peers, r.Caches+o.Caches, r.Slabs+o.Slabs
	r.Arenas += o.Arenas
	r.Blocks, r.Spans, r.Private = r.Blocks+o.Blocks, r.Spans+o.Spans, r.Private+o.Private
}

// recoverPatience is how long Recover waits for another process that is recovering. That takes it
// microseconds, so a longer wait means that it was stopped.
const recoverPatience = 5 * time.Second

// Recover returns what dead peers hold: the caches whose peer is gone are taken over one by one by a
// CompareAndSwap of their owner, what they had under way is settled, their slabs become nobody's and
// their claimed spans free. Blocks that they allocated stay. Live peers go on meanwhile; none waits.
// When Recover returns without an error, all that was dead when it was called is settled: the words of
// dead peers' exact operations may be acted on.
//
// Any number of processes may recover at once: each dead cache is one's, and the others wait for it.
// Recover returns heap.ErrBusy when it had to wait for seconds, because the one that took a cache is
// stopped: call it again later. A process that dies in here leaves caches whose owner is a dead peer
// again, and every step may be repeated. It returns ErrCorrupt for damaged records, having recovered
// the others.
func (a *Allocator) Recover() (Recovered, error) {
	var done Recovered
	if err := a.enterToWrite(); err != nil {
		return done, err
	}
	defer a.leave()
	deadline := time.Now().Add(recoverPatience)
	for pause := 10 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		r, pending, err := a.recoverOnce()
		done.add(r)
		if err == nil && pending && time.Now().After(deadline) {
			err = fmt.Errorf("%w: another process is recovering since %v", heap.ErrBusy, recoverPatience)
		}
		if err != nil || !pending {
			return done, errors.Join(err, a.region.ReleaseDead())
		}
		time.Sleep(pause)
	}
}

// Recovered returns what this allocator has recovered since it was opened, then included.
func (a *Allocator) Recovered() Recovered {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.recovered
}

// recoverOnce recovers what is dead and nobody else's, and reports whether others are recovering.
func (a *Allocator) recoverOnce() (done Recovered, pending bool, err error) {
	dead, done, pending, err := a.takeDead()
	if len(dead) == 0 {
		return done, pending, err
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
	a.mu.Lock()
	a.recovered.add(done)
	a.mu.Unlock()
	return done, pending, err
}

// takeDead makes this peer the owner of all caches whose peer is dead. Pending means that somebody
// alive, perhaps another goroutine, has taken some before.
func (a *Allocator) takeDead() (dead map[uint16]bool, done Recovered, pending bool, err error) {
	dead = make(map[uint16]bool)
	peers := make(map[uint64]bool)
	mine := cacheOwner(layout.CacheRecovering, a.region.Peer())
	for id := 1; id < len(a.caches) && a.hasRecord(id); id++ {
		owner := a.caches[id].Owner.Load()
		gone, e := a.isDead(owner)
		if e != nil {
			err = fmt.Errorf("cache at %#x: %w", a.address(a.tables.Caches+uint64(id)*layout.CacheSize), e)
			continue
		}
		if !gone && owner&cacheStateMask == layout.CacheRecovering {
			pending = true
		}
		if gone && !a.caches[id].Owner.CompareAndSwap(owner, mine) {
			pending = true // somebody was quicker
		} else if gone {
			crashpoint.Hit("alloc.recover.after-take")
			dead[uint16(id)] = true
			peers[uint64(ownerPeer(owner))] = true
		}
	}
	done.Caches, done.Peers = len(dead), len(peers)
	return dead, done, pending, err
}

// hasRecord reports whether the record was ever used: records are committed in their order.
func (a *Allocator) hasRecord(id int) bool {
	return a.hasStorage((a.tables.Caches + uint64(id)*layout.CacheSize) >> layout.GranuleShift)
}

// cacheStateMask is the part of a cache's owner word that is not the peer.
const cacheStateMask = 1<<layout.CacheSlotShift - 1

func (a *Allocator) isDead(owner uint64) (bool, error) {
	if owner == 0 {
		return false, nil
	}
	p := ownerPeer(owner)
	kind := owner & cacheStateMask
	if kind > layout.CacheRecovering || cacheOwner(kind, p) != owner || p.Generation() == 0 {
		return false, fmt.Errorf("%w: owner %#x", ErrCorrupt, owner)
	}
	alive, err := a.region.Alive(p)
	return err == nil && !alive, err
}

// returnSpans walks the states once. A word costs a load; 1 TiB of granules in use is 128 MiB of them.
func (a *Allocator) returnSpans(dead map[uint16]bool, done *Recovered) (err error) {
	var arenas []uint64
	for g := a.first; g < a.frontier(); g++ {
		s := layout.State(a.states[g].Load())
		var e error
		switch {
		case s.Kind() == layout.KindChunk:
			e = a.returnChunk(g, s, dead)
		case s.Cache() == 0 || !dead[s.Cache()]:
		case s.Kind() == layout.KindArena:
			arenas = append(arenas, g)
		default:
			e = a.returnSpan(g, s, done)
		}
		if e != nil {
			err = e
		}
	}
	if e := a.returnArenas(arenas, done); e != nil {
		err = e
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
		v := a.slab(g, s)
		private := a.countPrivate(v)
		done.Slabs, done.Private = done.Slabs+1, done.Private+int(private)
		done.Blocks += int(a.countFree(v) + private)
		return a.disown(g, s)
	case layout.KindLarge:
		done.Private++
		return a.freeOwned(g, s)
	case layout.KindClaimed:
		done.Spans++
		return a.releaseRun(g, s.Run())
	}
	return a.corrupt(g<<layout.GranuleShift, "state %#x has an owner", uint64(s))
}
