package alloc

import (
	"errors"
	"fmt"
	"sync"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// An arena is a head, which is its first chunk too, and further chunks. The head's state word alone says whose
// the arena is: a cache's, with which it dies, or nobody's when it is published. Which chunks belong to a head
// their descriptors say; the list that leads from the head through all of them is there to find them quickly.
// It never leads to anything but a chunk of the arena, because a chunk is linked after it became one and
// unlinked before it ceases to be one. So a chunk may be missing from the list while the owner is at it, and
// recovery, which looks at all states anyway, goes by the descriptors.
//
//	a new arena                            killed behind it, recovery finds
//	  1 claim a run                        a claimed run: gives it back
//	  2 descriptor                         the same
//	  3 state: arena of the cache          an arena of a dead cache: frees it
//
//	a further chunk
//	  1 claim a run                        a claimed run, and the arena: frees both
//	  2 descriptor: head, next             the same
//	  3 state: chunk                       a chunk whose head is a dead cache's: frees it with the arena
//	  4 head's next = chunk                the same
//
//	Publish: one CAS of the head's state   before: frees the arena; behind: keeps it
//
//	PublishInto
//	  1 intent                             the word is nil: nothing to do, the arena has an owner
//	  2 CAS of the head's state            the word is nil: makes the dead cache the owner again, frees the arena
//	  3 CAS *word from nil to the arena    the word is not nil: keeps the arena
//	  4 intent = 0                         keeps the arena
//
//	Free, Close and Reset
//	  1 published: CAS of the head's       an arena of a dead cache: frees it
//	    state, the cache is the owner
//	  2 head's next = the chunk's next     a chunk that is not in the list: frees it with the arena
//	  3 state of the chunk: claimed        a claimed run: gives it back
//	  4 give the run back; 2 to 4 again    what is left of it: the same
//	  5 state of the head: claimed         a claimed run: gives it back. There are no more chunks.
//
// Recovery frees the chunks of all dead arenas first and then their heads, so that a head is there as long as
// a chunk needs it, and whoever repeats it finds the same.

// Bounds of a chunk in granules, when it is not made for a block that needs more.
const (
	minChunk = 1
	maxChunk = 64
)

// arenaRecord returns the descriptor of a granule that heads an arena or a chunk.
func (a *Allocator) arenaRecord(g uint64) *layout.Arena {
	return mem.View[layout.Arena](a.memory, a.tables.Slabs+g*layout.SlabSize)
}

// arenaHead returns the state of the arena that the granule heads.
func (a *Allocator) arenaHead(g uint64) (layout.State, bool) {
	if g < a.first || g >= a.frontier() {
		return 0, false
	}
	s := layout.State(a.states[g].Load())
	return s, s.Kind() == layout.KindArena && s.Valid() && s.Run() <= a.limit-g
}

// chunkOf returns the state of the chunk at g if it belongs to the arena of that head.
func (a *Allocator) chunkOf(head, g uint64) (layout.State, bool) {
	if g < a.first || g >= a.frontier() {
		return 0, false
	}
	s := layout.State(a.states[g].Load())
	if s.Kind() != layout.KindChunk || !s.Valid() || s.Run() > a.limit-g {
		return s, false
	}
	return s, a.arenaRecord(g).Head.Load() == head
}

// newArena makes an arena of n granules, or of one, that the cache owns, and returns its head and its length.
func (c *Cache) newArena(n uint64) (head, got uint64, err error) {
	head, n, err = c.claimChunk(n, 1)
	if err != nil {
		return 0, 0, err
	}
	c.describeChunk(head, head, 0)
	crashpoint.Hit("alloc.arena.after-descriptor")
	c.a.states[head].Swap(uint64(layout.MakeState(layout.KindArena, 0, c.id, n)))
	crashpoint.Hit("alloc.arena.after-head")
	return head, n, nil
}

// addChunk adds a chunk of n granules, or of no fewer than least, to an arena that the cache owns, and returns it and its
// length.
func (c *Cache) addChunk(head, n, least uint64) (chunk, got uint64, err error) {
	chunk, n, err = c.claimChunk(n, least)
	if err != nil {
		return 0, 0, err
	}
	next := &c.a.arenaRecord(head).Next
	c.describeChunk(chunk, head, next.Load())
	crashpoint.Hit("alloc.arena.after-describe")
	c.a.states[chunk].Swap(uint64(layout.MakeState(layout.KindChunk, 0, 0, n)))
	crashpoint.Hit("alloc.arena.after-chunk")
	next.StoreRelease(chunk)
	crashpoint.Hit("alloc.arena.after-link")
	return chunk, n, nil
}

// claimChunk claims a run of n granules, or of least when that cannot be had.
func (c *Cache) claimChunk(n, least uint64) (g, got uint64, err error) {
	if n > least {
		g, err = c.claimCommitted(granules(n))
		if !errors.Is(err, ErrNoSpace) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrQuota) {
			return g, n, err
		}
	}
	return c.claimLarge(least<<layout.GranuleShift, 1)
}

func (c *Cache) describeChunk(g, head, next uint64) {
	d := c.a.arenaRecord(g)
	d.Head.StoreRelease(head)
	d.Next.StoreRelease(next)
	d.Used.StoreRelease(0)
}

// freeArena frees an arena that the cache owns.
func (c *Cache) freeArena(head uint64) error {
	s, ok := c.a.arenaHead(head)
	if !ok || s.Cache() != c.id {
		return c.a.corrupt(head<<layout.GranuleShift, "state %#x of an owned arena", uint64(s))
	}
	if err := c.dropChunks(head); err != nil {
		return err
	}
	return c.dropRun(head, s)
}

// dropChunks frees all chunks of an arena that the cache owns, except its head. Where the list is damaged the
// states are searched.
func (c *Cache) dropChunks(head uint64) error {
	next := &c.a.arenaRecord(head).Next
	for g := next.Load(); g != 0; g = next.Load() {
		s, ok := c.a.chunkOf(head, g)
		if !ok {
			next.StoreRelease(0)
			return c.dropStrays(head)
		}
		next.StoreRelease(c.a.arenaRecord(g).Next.Load())
		crashpoint.Hit("alloc.arena.after-unlink")
		if err := c.dropRun(g, s); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cache) dropStrays(head uint64) error {
	var errs []error
	for g := c.a.first; g < c.a.frontier(); g++ {
		if s, ok := c.a.chunkOf(head, g); ok {
			errs = append(errs, c.dropRun(g, s))
		}
	}
	return errors.Join(errs...)
}

// dropRun frees the run of an arena's head or chunk.
func (c *Cache) dropRun(g uint64, s layout.State) error {
	if err := c.a.claimRunOf(c.id, g, s); err != nil {
		return err
	}
	return c.releaseSpan(g, s.Run())
}

// claimRunOf makes the run of an arena's head or chunk one that the cache has claimed.
func (a *Allocator) claimRunOf(id uint16, g uint64, s layout.State) error {
	claimed := layout.MakeState(layout.KindClaimed, 0, id, s.Run())
	if !a.isWhole(g, s.Run()) || !a.states[g].CompareAndSwap(uint64(s), uint64(claimed)) {
		return a.corrupt(g<<layout.GranuleShift, "chunk of %d granules, state %#x, is not whole", s.Run(), uint64(s))
	}
	crashpoint.Hit("alloc.arena.after-claim")
	return nil
}

// publishArena makes an arena of the cache nobody's.
func (c *Cache) publishArena(head uint64) error {
	s, ok := c.a.arenaHead(head)
	if !ok || s.Cache() != c.id || !c.a.states[head].CompareAndSwap(uint64(s), uint64(s.Disown())) {
		return c.a.corrupt(head<<layout.GranuleShift, "state %#x of an owned arena", uint64(s))
	}
	crashpoint.Hit("alloc.arena.after-publish")
	delete(c.arenas, head)
	return nil
}

// publishArenaInto does the same so that the arena is reachable from the word at offset at or still the cache's.
func (c *Cache) publishArenaInto(head, at uint64) error {
	w, err := c.a.wordAt(at)
	if err == nil && w.Load() != 0 {
		err = c.occupied(at)
	}
	if err != nil {
		return err
	}
	ar, off := c.arenas[head], head<<layout.GranuleShift
	c.setIntent(off, layout.IntentAlloc, at)
	if err := c.publishArena(head); err != nil {
		c.clearIntent()
		return err
	}
	if c.finishInto(w, off) {
		return nil
	}
	err = errors.Join(c.occupied(at), c.takeArena(head, ar))
	c.clearIntent()
	return err
}

// takeArena makes the cache the owner of a published arena. Of several that try it at once one succeeds.
func (c *Cache) takeArena(head uint64, ar *Arena) error {
	s, ok := c.a.arenaHead(head)
	if !ok || s.Cache() != 0 || !c.a.states[head].CompareAndSwap(uint64(s), uint64(s.Own(c.id))) {
		return c.a.notAllocated(head << layout.GranuleShift)
	}
	crashpoint.Hit("alloc.arena.after-take")
	c.keepArena(head, ar)
	return nil
}

// keepArena notes that Close has to free the arena.
func (c *Cache) keepArena(head uint64, ar *Arena) {
	if c.arenas == nil {
		c.arenas = make(map[uint64]*Arena)
	}
	c.arenas[head] = ar
}

// releaseArenas frees the arenas of a cache that is closing.
func (c *Cache) releaseArenas() error {
	var errs []error
	for head, ar := range c.arenas {
		ar.end(ErrClosed)
		errs = append(errs, c.freeArena(head))
	}
	c.arenas = nil
	return errors.Join(errs...)
}

// settleArena gives an arena whose address was stored nowhere back to the dead cache that was publishing it.
func (a *Allocator) settleArena(id uint16, off uint64) {
	head := off >> layout.GranuleShift
	if s, ok := a.arenaHead(head); ok && s.Cache() == 0 && off%layout.GranuleSize == 0 {
		a.states[head].CompareAndSwap(uint64(s), uint64(s.Own(id)))
	}
}

// returnChunk gives a chunk back if its arena is a dead cache's.
func (a *Allocator) returnChunk(g uint64, s layout.State, dead map[uint16]bool) error {
	owner, ok := a.arenaHead(a.arenaRecord(g).Head.Load())
	if !ok || owner.Cache() == 0 || !dead[owner.Cache()] {
		return nil
	}
	return a.returnRun(owner.Cache(), g, s)
}

// returnArenas gives the heads of dead caches' arenas back, when their chunks are.
func (a *Allocator) returnArenas(heads []uint64, done *Recovered) (err error) {
	for _, head := range heads {
		s := layout.State(a.states[head].Load())
		if e := a.returnRun(s.Cache(), head, s); e != nil {
			err = e
			continue
		}
		done.Arenas++
	}
	return err
}

func (a *Allocator) returnRun(id uint16, g uint64, s layout.State) error {
	crashpoint.Hit("alloc.recover.before-chunk")
	if !s.Valid() || s.Run() > a.limit-g {
		return a.corrupt(g<<layout.GranuleShift, "state %#x", uint64(s))
	}
	if err := a.claimRunOf(id, g, s); err != nil {
		return err
	}
	return a.releaseRun(g, s.Run())
}

// arenaOf returns the head of the arena that the byte at off lies in.
func (a *Allocator) arenaOf(off uint64) (head uint64, s layout.State, err error) {
	g := off >> layout.GranuleShift
	if g < a.first || g >= a.frontier() {
		return 0, 0, a.notAllocated(off)
	}
	s = layout.State(a.states[g].Load())
	if s.Kind() == layout.KindTail && s.Distance() <= g-a.first {
		g -= s.Distance()
		s = layout.State(a.states[g].Load())
	}
	head = g
	if s.Kind() == layout.KindChunk {
		head = a.arenaRecord(g).Head.Load()
	}
	if s, ok := a.arenaHead(head); ok {
		return head, s, nil
	}
	return 0, 0, a.notAllocated(off)
}

// arenaSize walks an arena's list. It ends, because the chunks of a list that is none cover more than there is.
func (a *Allocator) arenaSize(head uint64) (size ArenaSize, err error) {
	s, ok := a.arenaHead(head)
	if !ok {
		return size, a.notAllocated(head << layout.GranuleShift)
	}
	most := (a.frontier() - a.first) << layout.GranuleShift
	for g := head; ; {
		d := a.arenaRecord(g)
		bytes := s.Run() << layout.GranuleShift
		size.Chunks++
		size.Reserved += bytes
		size.Used += min(d.Used.Load(), bytes)
		if g = d.Next.Load(); g == 0 {
			return size, nil
		}
		if s, ok = a.chunkOf(head, g); !ok || size.Reserved > most {
			return size, a.corrupt(head<<layout.GranuleShift, "granule %d is no chunk of the arena that leads to it", g)
		}
	}
}

// arenaCache is the cache that owns the arenas which were made from the Allocator.
type arenaCache struct {
	mu    sync.Mutex // after Allocator.life
	cache *Cache
}

// use calls f with a cache that nobody else uses meanwhile.
func (k *arenaCache) use(a *Allocator, f func(*Cache) error) error {
	if err := a.enter(); err != nil {
		return err
	}
	defer a.leave()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cache == nil {
		c, err := a.newCache()
		if err != nil {
			return err
		}
		k.cache = c
	}
	return f(k.cache)
}

// useForArena implements Source.
func (a *Allocator) useForArena(f func(*Cache) error) error { return a.arenas.use(a, f) }

// useForArena implements Source.
func (c *Cache) useForArena(f func(*Cache) error) error {
	if c.closed {
		return ErrClosed
	}
	return f(c)
}

func arenaError(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s arena: %w", what, err)
}
