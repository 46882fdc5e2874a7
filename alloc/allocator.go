package alloc

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/goroutine"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// region is what the allocator needs of a heap. Tests run it over Go memory, where the race detector
// sees every access.
type region interface {
	Memory() mem.Memory
	Geometry() layout.Geometry
	Commit(off, n uint64) error
	Decommit(off, n uint64) error
	Committed() uint64
	Peer() heap.PeerID // 0 when the heap is open for reading alone
	Alive(heap.PeerID) (bool, error)
	ReleaseDead() error
	Alone() (release func(), err error)
	Roots() ([]heap.Root, error)
}

// Allocator allocates in one heap on behalf of this process. Its methods may be called by any number
// of goroutines; each borrows one of the allocator's own caches for the call. A goroutine that
// allocates a lot is better served by a Cache of its own.
type Allocator struct {
	heap   *heap.Heap
	region region

	memory mem.Memory
	base   uint64 // of the region in its peers, for people
	super  *layout.Superblock
	tables layout.Sections
	states []mem.Word // one a granule, the truth
	stored []mem.Word // one bit a granule: the committed bitmap
	busy   []mem.Word // one bit a granule, a hint: a free granule's bit is 0
	caches []layout.Cache
	peers  []layout.Peer
	first  uint64 // first data granule
	origin uint64 // the granule of the address space that granule 0 is
	limit  uint64 // granules of the region

	siteCount uint64 // entries of the table of sites
	bitmap    [layout.NumClasses]bitmapPlace

	// life is held for reading while the tables are used on behalf of no cache, and for writing to
	// close. It comes before near's mutex and the shards', and those before mu.
	life   sync.RWMutex
	near   near
	shards shards
	arenas arenaCache

	retention retention
	quota     quota
	sites     sites

	mu        sync.Mutex
	open      map[*Cache]struct{} // caches that Close has to close
	closed    atomic.Bool         // stored under mu
	recovered Recovered
}

// Open makes an allocator for an open heap, and recovers what dead peers have left unless another
// process is at it. Heap.Close closes it. Damage does not keep it from opening: see Check. It returns ErrClosed.
//
// On a heap that is open for reading alone it recovers nothing; Stats, Usage, Profile, Check, Contains and UsableSize
// work, and what would change the heap returns heap.ErrReadOnly.
func Open(h *heap.Heap) (*Allocator, error) {
	a := prepare(h)
	a.heap = h
	_, err := h.OnClose(a.closeOnce) // from here on Close waits for who has entered
	if err == nil {
		err = a.begin()
	}
	if err != nil {
		return nil, fmt.Errorf("open allocator of heap %q: %w", h.Name(), err)
	}
	return a, nil
}

// open is Open for a region that nobody closes.
func open(r region) (*Allocator, error) {
	a := prepare(r)
	return a, a.begin()
}

// prepare makes an allocator that has nothing of the region in its hands yet.
func prepare(r region) *Allocator {
	a := view(r)
	a.retention.init()
	a.near.init()
	a.shards.init(a)
	return a
}

// begin recovers what dead peers have left. That this cannot be done now keeps nobody from allocating.
func (a *Allocator) begin() error {
	if err := a.enter(); err != nil {
		return err
	}
	defer a.leave()
	if a.mayWrite() == nil {
		a.recoverOnce()
	}
	return nil
}

// view makes an allocator that has looked at nothing yet and changed nothing.
func view(r region) *Allocator {
	g, m := r.Geometry(), r.Memory()
	a := &Allocator{
		region: r, memory: m, tables: g.Sections, base: uint64(m.Base()),
		super:  mem.View[layout.Superblock](m, 0),
		states: mem.Slice[mem.Word](m, g.Sections.States, g.Granules()),
		stored: mem.Slice[mem.Word](m, g.Sections.Committed, layout.BitmapSize(g.Granules())/8),
		busy:   mem.Slice[mem.Word](m, g.Sections.Busy, layout.BitmapSize(g.Granules())/8),
		peers:  mem.Slice[layout.Peer](m, g.Sections.Peers, uint64(g.MaxPeers)),
		caches: mem.Slice[layout.Cache](m, g.Sections.Caches, uint64(g.MaxCaches)+1),
		first:  g.FirstGranule(), limit: g.Granules(), siteCount: g.Sites(), origin: uint64(m.Base()) >> layout.GranuleShift,
		open: make(map[*Cache]struct{}),
	}
	for class := range a.bitmap {
		a.bitmap[class] = placeBitmap(&g, class)
	}
	return a
}

// mayWrite returns heap.ErrReadOnly when the heap is open for reading alone.
func (a *Allocator) mayWrite() error {
	if a.region.Peer() == 0 {
		return heap.ErrReadOnly
	}
	return nil
}

// enterToWrite is enter for what changes the heap on behalf of no cache.
func (a *Allocator) enterToWrite() error {
	if err := a.mayWrite(); err != nil {
		return err
	}
	return a.enter()
}

// Heap returns the heap that the allocator was opened on.
func (a *Allocator) Heap() *heap.Heap { return a.heap }

// Close closes the allocator's caches, those made by NewCache too, which must be idle: a goroutine that
// uses one meanwhile may damage the heap. It returns ErrClosed when that has been done.
func (a *Allocator) Close() error {
	if err := a.enter(); err != nil {
		return err
	}
	a.leave()
	return a.closeOnce()
}

func (a *Allocator) closeOnce() error {
	a.life.Lock()
	defer a.life.Unlock()
	a.mu.Lock()
	a.closed.Store(true)
	open := a.open
	a.open = nil
	a.mu.Unlock()
	a.near.close()
	a.shards.close()
	var errs []error
	for c := range open {
		errs = append(errs, c.release())
	}
	return errors.Join(errs...)
}

// hasStorage reports whether granule g may be touched.
func (a *Allocator) hasStorage(g uint64) bool { return a.stored[g/64].Load()>>(g%64)&1 != 0 }

// enter keeps the heap open until leave.
func (a *Allocator) enter() error {
	a.life.RLock()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed.Load() {
		a.life.RUnlock()
		return ErrClosed
	}
	return nil
}

func (a *Allocator) leave() { a.life.RUnlock() }

// lease is a cache that a goroutine uses alone until it ends the lease.
type lease struct {
	*Cache
	place *place
	shard *shard
}

// borrow leases one of the allocator's own caches: that of the goroutine's place, or of a shard.
func (a *Allocator) borrow() (lease, error) {
	p := a.near.enter(goroutine.ID())
	if p == nil {
		p = a.near.settle(a.newCache)
	}
	if p != nil {
		return lease{Cache: p.cache, place: p}, nil
	}
	s, err := a.shards.borrow()
	if err != nil {
		return lease{}, err
	}
	return lease{Cache: s.cache, shard: s}, nil
}

func (l *lease) end() {
	if l.place != nil {
		l.place.leave()
	} else {
		l.a.shards.giveBack(l.shard)
	}
}

func (a *Allocator) allocator() *Allocator { return a }
