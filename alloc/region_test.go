package alloc

import (
	"fmt"
	"pgregory.net/rapid"
	"sync"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// goRegion is a heap in Go memory: what several allocators, each with a peer of its own, share as
// processes share a mapping. The race detector sees every access to it.
type goRegion struct {
	memory   mem.Memory
	geometry layout.Geometry

	mu    sync.Mutex
	limit int // granules that the "file system" has
	bound int // the limit of the heap, in granules; 0 is none
	alive map[heap.PeerID]bool
	roots []heap.Root
}

func newGoRegion(t rapid.TB, size uint64) *goRegion {
	t.Helper()
	g, err := layout.NewGeometry(size, 16, 64, 64)
	if err != nil {
		t.Fatal(err)
	}
	return &goRegion{
		memory: mem.Over(make([]byte, size)), geometry: g, limit: int(g.Granules()), alive: make(map[heap.PeerID]bool),
	}
}

// member is one peer's view of a goRegion.
type member struct {
	*goRegion
	id heap.PeerID
}

// join returns an allocator of a new peer.
func (r *goRegion) join(t rapid.TB) (*Allocator, *member) {
	t.Helper()
	r.mu.Lock()
	m := &member{goRegion: r, id: heap.MakePeerID(uint16(len(r.alive)%64), uint32(len(r.alive)/64+1))}
	r.alive[m.id] = true
	state := uint64(m.id.Generation())<<layout.PeerStateBits | layout.PeerAttached
	record := mem.View[layout.Peer](r.memory, r.geometry.Sections.Peers+uint64(m.id.Slot())*layout.PeerSize)
	record.Quota.StoreRelease(0)
	clearCounters(&record.Counts)
	record.State.StoreRelease(state)
	r.mu.Unlock()
	a, err := open(m)
	if err != nil {
		t.Fatal(err)
	}
	return a, m
}

// die makes the peer dead without returning anything.
func (m *member) die() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.alive[m.id] = false
}

func (r *goRegion) Memory() mem.Memory        { return r.memory }
func (r *goRegion) Geometry() layout.Geometry { return r.geometry }
func (m *member) Peer() heap.PeerID           { return m.id }

func (r *goRegion) Alive(id heap.PeerID) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.alive[id], nil
}

func (r *goRegion) ReleaseDead() error { return nil }

func (r *goRegion) Roots() ([]heap.Root, error) { return r.roots, nil }

func (m *member) Alone() (func(), error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, alive := range m.alive {
		if alive && id != m.id {
			return nil, fmt.Errorf("%w: %v", heap.ErrNotAlone, id)
		}
	}
	return func() {}, nil
}

func (r *goRegion) Commit(off, n uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.memory.Contains(off, n) || n == 0 {
		return fmt.Errorf("commit %d bytes at %d: %w", n, off, heap.ErrOffset)
	}
	if err := r.withinBound(off>>layout.GranuleShift, (off+n-1)>>layout.GranuleShift); err != nil {
		return err
	}
	for g := off >> layout.GranuleShift; g <= (off+n-1)>>layout.GranuleShift; g++ {
		word, bit := r.committedWord(g)
		if word.Load()&bit == 0 && r.committed() >= r.limit {
			return ErrNoSpace
		}
		word.Or(bit)
	}
	return nil
}

// withinBound is what the limit of a heap is.
func (r *goRegion) withinBound(first, last uint64) error {
	want, have := uint64(0), uint64(r.committed())
	for g := first; g <= last; g++ {
		if word, bit := r.committedWord(g); word.Load()&bit == 0 {
			want++
		}
	}
	if r.bound == 0 || want == 0 || have+want <= uint64(r.bound) {
		return nil
	}
	return &heap.LimitError{
		Limit: uint64(r.bound) << layout.GranuleShift, Committed: have << layout.GranuleShift, Want: want << layout.GranuleShift,
	}
}

// committedWord returns the word of the committed bitmap that has the granule's bit, and the bit.
func (r *goRegion) committedWord(g uint64) (*mem.Word, uint64) {
	return r.memory.Word(r.geometry.Sections.Committed + g/64*8), 1 << (g % 64)
}

func (r *goRegion) committed() (n int) {
	for g := range r.geometry.Granules() {
		if word, bit := r.committedWord(g); word.Load()&bit != 0 {
			n++
		}
	}
	return n
}

func (r *goRegion) Decommit(off, n uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for g := off >> layout.GranuleShift; g < (off+n)>>layout.GranuleShift; g++ {
		word, bit := r.committedWord(g)
		word.And(^bit)
	}
	clear(r.memory.Bytes(off, n))
	return nil
}

func (r *goRegion) Committed() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return uint64(r.committed()) << layout.GranuleShift
}

// mustCheck fails the test when the heap is damaged.
func mustCheck(t rapid.TB, a *Allocator) {
	t.Helper()
	if err := a.Check().Err(); err != nil {
		t.Fatal(err)
	}
}

// mustCount fails the test when the number of blocks in use is not live.
func mustCount(t rapid.TB, a *Allocator, live uint64) {
	t.Helper()
	s, err := a.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if s.Live != live {
		t.Fatalf("%d blocks are in use, want %d", s.Live, live)
	}
	if s.Claimed == 0 { // the heap is at rest
		mustBalance(t, a, &s)
	}
}

// mustBalance checks the equations of Stats, also with Usage.
func mustBalance(t rapid.TB, a *Allocator, s *Stats) {
	t.Helper()
	usage, err := a.Usage()
	if err != nil {
		t.Fatal(err)
	}
	var sum PeerUsage
	for _, u := range usage {
		sum.Slabs, sum.SlabBytes, sum.LargeBytes = sum.Slabs+u.Slabs, sum.SlabBytes+u.SlabBytes, sum.LargeBytes+u.LargeBytes
		sum.Private, sum.Arenas = sum.Private+u.Private, sum.Arenas+u.Arenas
		if u.Peer == a.region.Peer() && u.Held() != a.countHeld()<<layout.GranuleShift {
			t.Errorf("this peer holds %d bytes by its usage, and %d granules by its quota", u.Held(), a.countHeld())
		}
	}
	blocks := s.Large
	for _, c := range s.Classes {
		blocks += c.Slabs * uint64(layout.Classes[layout.ClassOf(c.Size)].Blocks)
	}
	for name, n := range map[string][2]uint64{
		"bytes":               {(a.limit - a.first) << layout.GranuleShift, s.SlabBytes + s.LargeBytes + s.ArenaBytes + s.FreeGranules<<layout.GranuleShift},
		"blocks":              {blocks, s.Live + s.FreeBlocks},
		"slabs":               {s.Slabs, s.Unowned + sum.Slabs},
		"bytes of large ones": {s.LargeBytes, sum.LargeBytes},
		"arenas":              {s.Arenas, s.ArenasPublished + sum.Arenas},
		"private blocks":      {s.Private, sum.Private},
	} {
		if n[0] != n[1] {
			t.Errorf("%s: %d on one side and %d on the other: %+v, used as %+v", name, n[0], n[1], *s, usage)
		}
	}
}

func mustCache(t rapid.TB, a *Allocator) *Cache {
	t.Helper()
	c, err := a.NewCache()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustAlloc(t rapid.TB, c *Cache, size uint64) uint64 {
	t.Helper()
	off, err := c.alloc(size)
	if err != nil {
		t.Fatal(err)
	}
	return off
}

func mustFree(t rapid.TB, c *Cache, off uint64) {
	t.Helper()
	if err := c.free(off); err != nil {
		t.Fatal(err)
	}
}

// free frees the block that begins at off as a caller would, unless off is no place that can be pointed to.
func (c *Cache) free(off uint64) error {
	if !c.a.memory.Contains(off, 1) {
		return c.freeAny(off)
	}
	return c.Free(c.a.memory.Pointer(off))
}

// alloc and free of an allocator count in offsets, too.
func (a *Allocator) alloc(size uint64) (uint64, error) {
	l, err := a.borrow()
	if err != nil {
		return 0, err
	}
	defer l.end()
	return l.alloc(size)
}

func (a *Allocator) free(off uint64) error {
	l, err := a.borrow()
	if err != nil {
		return err
	}
	defer l.end()
	return l.free(off)
}
