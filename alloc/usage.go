package alloc

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// PeerUsage is what one peer holds and what it has done since it attached.
//
// What it holds is counted from the states. What it has done is counted by its caches, each in its own record,
// when they look for blocks: it lags by what they took from the word of a bitmap that they are at, at most
// 1,100 blocks of each size class and cache. The frees within its own slabs are not counted at all but follow
//
//	LocalFrees == Allocs + in use when slabs were adopted - in use when they were left - in use now
//	              - freed there by others
//
// and so lag with Allocs. When a process dies its counts are there until Recover takes its caches.
type PeerUsage struct {
	Peer  heap.PeerID // whose it is
	Alive bool        // what Heap.Alive says
	Quota uint64      // bytes it may hold, 0 for no limit

	Caches     uint64 // in use
	Slabs      uint64 // that its caches own
	SlabBytes  uint64 // their lengths
	Blocks     uint64 // in use in those slabs
	Large      uint64 // large blocks that it allocated and that are in use
	LargeBytes uint64 // their sizes
	Private    uint64 // of both, the blocks that die with its caches
	Arenas     uint64 // that its caches own: those that are not published
	ArenaBytes uint64 // of their chunks
	Claimed    uint64 // spans that its caches are making or taking apart
	ClaimBytes uint64 // their lengths

	Allocs      uint64 // blocks allocated from slabs
	LargeAllocs uint64 // large blocks allocated
	Bytes       uint64 // of both, as rounded up
	Refills     uint64 // times that a word of a bitmap was used up
	LocalFrees  uint64 // blocks that it freed in its own slabs
	RemoteFrees uint64 // blocks that it freed in slabs of others, or of nobody
	LargeFrees  uint64 // large blocks that it freed, whoever allocated them
}

// Held returns how many bytes count for the peer's quota.
func (u *PeerUsage) Held() uint64 {
	return u.SlabBytes + u.LargeBytes + u.ArenaBytes + u.ClaimBytes
}

// Usage returns what each peer holds and has done, dead ones included whose large blocks or caches are there. It
// walks the states and bitmaps; with peers at work it is a blurred picture. It returns ErrClosed, or an error of
// the system.
func (a *Allocator) Usage() ([]PeerUsage, error) {
	if err := a.enter(); err != nil {
		return nil, fmt.Errorf("usage: %w", err)
	}
	defer a.leave()
	t := tally{a: a, peers: make(map[heap.PeerID]*peerTally)}
	t.attached()
	t.caches()
	for g := a.first; g < a.frontier(); {
		g += t.span(g)
	}
	return t.result()
}

// tally is what Usage knows of each peer.
type tally struct {
	a     *Allocator
	peers map[heap.PeerID]*peerTally
}

type peerTally struct {
	PeerUsage
	collected, balance uint64
}

func (t *tally) of(id heap.PeerID) *peerTally {
	p := t.peers[id]
	if p == nil {
		p = new(peerTally)
		p.Peer = id
		t.peers[id] = p
	}
	return p
}

func (t *tally) attached() {
	for slot := range t.a.peers {
		record := &t.a.peers[slot]
		state := record.State.Load()
		if state&(1<<layout.PeerStateBits-1) != layout.PeerAttached {
			continue
		}
		p := t.of(heap.MakePeerID(uint16(slot), uint32(state>>layout.PeerStateBits)))
		p.Quota = record.Quota.Load()
		p.addCounts(&record.Counts)
	}
}

func (t *tally) caches() {
	for id := 1; id < len(t.a.caches) && t.a.hasRecord(id); id++ {
		record := &t.a.caches[id]
		if owner := record.Owner.Load(); owner&cacheStateMask == layout.CacheOwned {
			p := t.of(ownerPeer(owner))
			p.Caches++
			p.addCounts(&record.Counts)
		}
	}
}

func (p *peerTally) addCounts(c *layout.Counters) {
	p.Allocs, p.Bytes, p.Refills = p.Allocs+c.Allocs.Load(), p.Bytes+c.Bytes.Load(), p.Refills+c.Refills.Load()
	p.RemoteFrees, p.LargeAllocs = p.RemoteFrees+c.Remote.Load(), p.LargeAllocs+c.Large.Load()
	p.LargeFrees += c.LargeFree.Load()
	p.collected, p.balance = p.collected+c.Collected.Load(), p.balance+c.Balance.Load()
}

// span counts what begins at granule g and returns its length.
func (t *tally) span(g uint64) uint64 {
	s := layout.State(t.a.states[g].Load())
	id := t.a.holder(g, s)
	if id == 0 {
		return 1
	}
	p, size := t.of(id), s.Run()<<layout.GranuleShift
	switch s.Kind() {
	case layout.KindClaimed:
		p.Claimed, p.ClaimBytes = p.Claimed+1, p.ClaimBytes+size
		return 1 // not all of the run may be its own
	case layout.KindArena:
		p.Arenas, p.ArenaBytes = p.Arenas+1, p.ArenaBytes+size
	case layout.KindChunk:
		p.ArenaBytes += size
	case layout.KindLarge:
		p.Large, p.LargeBytes = p.Large+1, p.LargeBytes+size
		if s.Cache() != 0 {
			p.Private++
		}
	case layout.KindSlab:
		p.Slabs, p.SlabBytes = p.Slabs+1, p.SlabBytes+size
		v := t.a.slab(g, s)
		p.Blocks += t.a.countUsed(v)
		p.Private += t.a.countPrivate(v)
		p.collected += t.a.countUncollected(v)
	}
	return s.Run()
}

func (t *tally) result() ([]PeerUsage, error) {
	var all []PeerUsage
	for id, p := range t.peers {
		var err error
		if p.Alive, err = t.a.region.Alive(id); err != nil {
			return nil, fmt.Errorf("usage: %w", err)
		}
		if frees := int64(p.Allocs + p.balance - p.Blocks - p.collected); frees > 0 {
			p.LocalFrees = uint64(frees)
		}
		all = append(all, p.PeerUsage)
	}
	slices.SortFunc(all, func(x, y PeerUsage) int { return cmp.Compare(x.Peer, y.Peer) })
	return all, nil
}

// countUsed returns how many blocks are in use.
func (a *Allocator) countUsed(s slab) uint64 {
	return uint64(layout.Classes[s.class].Blocks) - a.countFree(s)
}

// countUncollected returns how many blocks others freed that the owner has not collected.
func (a *Allocator) countUncollected(s slab) (n uint64) {
	p := &a.bitmap[s.class]
	for i := range s.remote {
		n += uint64(bits.OnesCount64(s.remote[i].Load() &^ s.local[i].Load() & p.valid(uint64(i))))
	}
	return n
}

// add adds to a counter that the caller alone writes.
func add(w *mem.Word, n uint64) { w.SetRelease(w.Peek() + n) }

// report stores what the bin has counted in the cache's record.
func (c *Cache) report(b *bin) {
	b.count()
	if counts := &c.record.Counts; b.allocs|b.collected != 0 {
		add(&counts.Refills, 1)
		add(&counts.Allocs, b.allocs)
		add(&counts.Bytes, b.allocs*b.size)
		add(&counts.Collected, b.collected)
		b.allocs, b.collected = 0, 0
	}
}

// keepCounts adds the counts of a cache that is closing to those of the peer. Killed in front of the end of
// the cache, they are counted twice for a dead peer.
func (a *Allocator) keepCounts(c *layout.Counters) {
	a.mu.Lock()
	defer a.mu.Unlock()
	to := counterWords(&a.peerRecord().Counts)
	for i, from := range counterWords(c) {
		add(to[i], from.Peek())
	}
}

func clearCounters(c *layout.Counters) {
	for _, w := range counterWords(c) {
		w.StoreRelease(0)
	}
}

func counterWords(c *layout.Counters) [8]*mem.Word {
	return [8]*mem.Word{&c.Allocs, &c.Bytes, &c.Refills, &c.Remote, &c.Collected, &c.Balance, &c.Large, &c.LargeFree}
}
