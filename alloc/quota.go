package alloc

import (
	"fmt"
	"sync"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// QuotaError says that a peer may not hold what was wanted. It is ErrQuota, and ErrNoSpace for those to whom
// the reason is all the same.
type QuotaError struct {
	Quota uint64 // bytes that the peer may hold
	Held  uint64 // bytes that it holds, or is about to
	Want  uint64 // bytes that it was to hold besides
}

// Error implements error.
func (e *QuotaError) Error() string {
	return fmt.Sprintf("%v: it may hold %d bytes, holds %d, and wants %d more", ErrQuota, e.Quota, e.Held, e.Want)
}

// Unwrap returns what errors.Is finds.
func (e *QuotaError) Unwrap() []error { return []error{ErrQuota, ErrNoSpace} }

// quota keeps this peer within what it may hold. What it holds is counted from the states, so that a count cannot
// drift; between counts a bound is kept, which is never below the truth, and only when that reaches the
// quota there is another count.
type quota struct {
	mu    sync.Mutex
	last  uint64 // the quota that bound is for; 0 makes the next claim count
	bound uint64 // granules that this peer holds at most
	under uint64 // granules that are in bound and perhaps not yet in the states
}

// SetQuota sets how many bytes this peer may hold: the slabs that its caches own, whoever uses the blocks,
// its arenas that are not published, and the large blocks that it has allocated and that are in use, by whomever. 0, as at the beginning, is
// no limit. It is obeyed wherever a slab or a large block is taken, after giving back what is empty; what the
// peer holds is not taken away, and FreeFrom into a slab of nobody may take that slab all the same. Allocations
// return a *QuotaError. Any process can see it in Usage. It ends with the peer. It returns ErrClosed.
func (a *Allocator) SetQuota(bytes uint64) error {
	if err := a.enterToWrite(); err != nil {
		return fmt.Errorf("set quota: %w", err)
	}
	defer a.leave()
	a.peerRecord().Quota.StoreRelease(bytes)
	return nil
}

// Quota returns how many bytes this peer may hold, 0 when there is no limit or the allocator is closed.
func (a *Allocator) Quota() uint64 {
	if a.enterToWrite() != nil {
		return 0
	}
	defer a.leave()
	return a.peerRecord().Quota.Load()
}

func (a *Allocator) peerRecord() *layout.Peer { return &a.peers[a.region.Peer().Slot()] }

// reserve lets n granules be claimed, until settle, or returns a QuotaError.
func (q *quota) reserve(a *Allocator, n uint64) error {
	limit := a.peerRecord().Quota.Load()
	q.mu.Lock()
	defer q.mu.Unlock()
	if limit == 0 {
		q.last = 0
	} else if may := limit >> layout.GranuleShift; limit != q.last || q.bound+n > may {
		q.bound, q.last = a.countHeld()+q.under, limit
		if q.bound+n > may {
			return &QuotaError{Quota: limit, Held: q.bound << layout.GranuleShift, Want: n << layout.GranuleShift}
		}
	}
	q.bound += n
	q.under += n
	return nil
}

// settle ends what reserve began: the granules are in the states, or they were not claimed.
func (q *quota) settle(n uint64, claimed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.under -= n
	if !claimed {
		q.bound -= min(n, q.bound)
	}
	q.assertBounds()
}

// countHeld returns how many granules this peer holds.
func (a *Allocator) countHeld() (n uint64) {
	me := a.region.Peer()
	for g := a.first; g < a.frontier(); g++ {
		s := layout.State(a.states[g].Load())
		if a.holder(g, s) == me {
			n += s.Run()
		}
	}
	return n
}

// holder returns the peer that a run counts for, 0 when it is nobody's or has no head here.
func (a *Allocator) holder(g uint64, s layout.State) heap.PeerID {
	switch {
	case s.Kind() == layout.KindTail || !s.Valid() || s.Run() > a.limit-g:
		return 0
	case s.Kind() == layout.KindLarge:
		return heap.PeerID(a.large(g).Charged.Load())
	case s.Kind() == layout.KindChunk:
		head := a.arenaRecord(g).Head.Load()
		if s, ok := a.arenaHead(head); ok { // whose owner is that of all chunks, nobody when it is published
			return a.holder(head, s)
		}
		return 0
	case s.Cache() == 0 || int(s.Cache()) >= len(a.caches):
		return 0
	}
	return ownerPeer(a.caches[s.Cache()].Owner.Load())
}

// large returns the descriptor of the large block at granule g.
func (a *Allocator) large(g uint64) *layout.Large {
	return mem.View[layout.Large](a.memory, a.tables.Slabs+g*layout.SlabSize)
}

// chargeLarge notes who allocates a large block, whose run is claimed. Killed before the state says that it is
// one, nobody looks at it.
func (c *Cache) chargeLarge(head, n uint64) {
	c.a.large(head).Charged.StoreRelease(uint64(c.a.region.Peer()))
	c.a.large(head).Sample.StoreRelease(c.sampleLarge(n << layout.GranuleShift))
	add(&c.record.Counts.Large, 1)
	add(&c.record.Counts.Bytes, n<<layout.GranuleShift)
}
