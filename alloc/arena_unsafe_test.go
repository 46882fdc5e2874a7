package alloc

import (
	"errors"
	"sync"
	"testing"
	"unsafe"

	"github.com/shmheap/shmheap/internal/layout"
)

func mustArena(t interface {
	Helper()
	Fatal(...any)
}, s Source, opts *ArenaOptions) *Arena {
	t.Helper()
	r, err := NewArena(s, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// mustArenas fails the test when there are not as many arenas and chunks.
func mustArenas(t *testing.T, a *Allocator, arenas, chunks uint64) {
	t.Helper()
	mustCheck(t, a)
	s, err := a.Stats()
	if err != nil || s.Arenas != arenas || s.ArenaChunks != chunks || s.Claimed != 0 {
		t.Fatalf("%d arenas of %d chunks, %d claimed, want %d of %d: %v", s.Arenas, s.ArenaChunks, s.Claimed, arenas, chunks, err)
	}
}

// TestArenaBlocks: blocks of all sizes and alignments lie apart from each other, inside the heap, and keep what is
// written to them.
func TestArenaBlocks(t *testing.T) {
	for _, source := range []string{"cache", "allocator"} {
		t.Run(source, func(t *testing.T) {
			region := newGoRegion(t, 64<<20)
			a, _ := region.join(t)
			var s Source = a
			if source == "cache" {
				s = mustCache(t, a)
			}
			arenaBlocks(t, region, a, mustArena(t, s, nil))
		})
	}
}

func arenaBlocks(t *testing.T, region *goRegion, a *Allocator, r *Arena) {
	var offs []uint64
	used := uint64(0)
	for size := uint64(0); size < 1<<20; size += 1 + size/3 {
		for _, align := range []uint64{1, 16, 64, 4096, 1 << 17} {
			p, err := r.AllocAligned(size, align)
			if err != nil || uintptr(p)%uintptr(align) != 0 || uintptr(p)%16 != 0 {
				t.Fatalf("%d bytes aligned to %d are at %p: %v", size, align, p, err)
			}
			off, ok := a.memory.Offset(p)
			if !ok || off < region.geometry.Sections.Data || off+size > region.geometry.Size {
				t.Fatalf("%d bytes at %#x", size, off)
			}
			fillBlock(a, off, size)
			offs = append(offs, off)
			used += size
		}
	}
	for _, off := range offs {
		if err := verifyBlock(a, off); err != nil {
			t.Fatal(err)
		}
	}
	size, err := r.Size()
	if err != nil || size.Used < used || size.Used > size.Reserved || size.Chunks < 3 {
		t.Fatalf("the arena says %+v, %d bytes were allocated: %v", size, used, err)
	}
	mustArenas(t, a, 1, uint64(size.Chunks))
	s, _ := a.Stats()
	if s.ArenaUsed != size.Used || s.ArenaBytes != size.Reserved || s.Live != 0 {
		t.Errorf("the arena is %+v, the heap says %+v", size, s)
	}
	if err := r.Free(); err != nil {
		t.Fatal(err)
	}
	mustArenas(t, a, 0, 0)
}

// TestArenaGrows: chunks double up to a bound, a block that is larger gets a chunk of its own, and the one before
// stays in use if more of it is left.
func TestArenaGrows(t *testing.T) {
	a, _ := newGoRegion(t, 256<<20).join(t)
	r := mustArena(t, mustCache(t, a), nil)
	seen := make(map[uint64]bool)
	for range 20 << 20 / 4096 {
		if _, err := r.Alloc(4096); err != nil {
			t.Fatal(err)
		}
		seen[r.size] = true
	}
	for size := uint64(64 << 10); size <= 4<<20; size *= 2 {
		if !seen[size] {
			t.Errorf("no chunk of %d bytes", size)
		}
	}
	if len(seen) != 7 {
		t.Errorf("chunks of %v bytes", seen)
	}
	before := r.base
	if _, err := r.Alloc(10 << 20); err != nil || r.base != before {
		t.Errorf("a large block moved the arena on: %v", err)
	}
	mustCheck(t, a)
}

// TestArenaReset keeps the first chunk, whose size is the caller's choice.
func TestArenaReset(t *testing.T) {
	a, _ := newGoRegion(t, 64<<20).join(t)
	r := mustArena(t, a, &ArenaOptions{Chunk: 150_000})
	first, err := r.Alloc(16)
	if err != nil || first != r.Address() {
		t.Fatalf("the first block is at %p of the arena at %p: %v", first, r.Address(), err)
	}
	for range 3 {
		for range 1000 {
			if _, err := r.Alloc(1000); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Reset(); err != nil {
			t.Fatal(err)
		}
		if size, err := r.Size(); err != nil || size != (ArenaSize{Chunks: 1, Reserved: 3 << 16}) {
			t.Fatalf("after Reset the arena is %+v: %v", size, err)
		}
		mustArenas(t, a, 1, 1)
		if p, err := r.AllocZeroed(100_000); err != nil || p != first || !isZero(a, p, 100_000) {
			t.Fatalf("after Reset a block is at %p, the first was at %p: %v", p, first, err)
		}
	}
}

func isZero(a *Allocator, p unsafe.Pointer, n uint64) bool {
	off, _ := a.memory.Offset(p)
	for _, b := range a.memory.Bytes(off, n) {
		if b != 0 {
			return false
		}
	}
	return true
}

// growArena makes the arena have several chunks and returns a pointer into the last.
func growArena(t *testing.T, r *Arena) unsafe.Pointer {
	t.Helper()
	var p unsafe.Pointer
	for range 400 {
		var err error
		if p, err = r.Alloc(1000); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// TestArenaLife: published lives, unpublished dies, whatever ends its owner.
func TestArenaLife(t *testing.T) {
	for _, end := range []string{"death", "close cache", "close allocator"} {
		t.Run(end, func(t *testing.T) {
			region := newGoRegion(t, 64<<20)
			survivor, _ := region.join(t)
			maker, member := region.join(t)
			c := mustCache(t, maker)
			kept, lost, own := mustArena(t, c, nil), mustArena(t, c, nil), mustArena(t, maker, nil)
			inside := growArena(t, kept)
			growArena(t, lost)
			growArena(t, own)
			address := kept.Address()
			if err := kept.Publish(); err != nil {
				t.Fatal(err)
			}
			mustArenas(t, survivor, 3, 9)
			left := uint64(1)
			switch end {
			case "death":
				member.die()
				if got, err := survivor.Recover(); err != nil || got.Arenas != 2 {
					t.Fatalf("recovered %+v: %v", got, err)
				}
			case "close cache":
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				left = 2
				if _, err := lost.Alloc(16); !errors.Is(err, ErrClosed) {
					t.Errorf("Alloc after Close says %v", err)
				}
			default:
				if err := maker.Close(); err != nil {
					t.Fatal(err)
				}
				if err := own.Free(); !errors.Is(err, ErrClosed) {
					t.Errorf("Free after Close says %v", err)
				}
			}
			mustArenas(t, survivor, left, 3*left)
			freePublished(t, survivor, address, inside)
			mustArenas(t, survivor, left-1, 3*(left-1))
		})
	}
}

// freePublished frees a published arena, twice.
func freePublished(t *testing.T, a *Allocator, address, inside unsafe.Pointer) {
	t.Helper()
	first, err := OpenArena(a, address)
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenArena(a, inside)
	if err != nil || second.Address() != address {
		t.Fatalf("a pointer inside leads to the arena at %p: %v", second.Address(), err)
	}
	if size, err := second.Size(); err != nil || size.Chunks != 3 {
		t.Errorf("the arena is %+v: %v", size, err)
	}
	if _, err := first.Alloc(16); !errors.Is(err, ErrPublished) {
		t.Errorf("Alloc from a published arena says %v", err)
	}
	if err := errors.Join(first.Reset(), first.Publish()); !errors.Is(err, ErrPublished) {
		t.Errorf("Reset and Publish say %v", err)
	}
	if err := first.Free(); err != nil {
		t.Fatal(err)
	}
	if err := second.Free(); !errors.Is(err, ErrNotAllocated) {
		t.Errorf("the second Free says %v", err)
	}
	if err := first.Free(); !errors.Is(err, ErrNotAllocated) {
		t.Errorf("Free again says %v", err)
	}
	if _, err := second.Size(); !errors.Is(err, ErrNotAllocated) {
		t.Errorf("Size of a freed arena says %v", err)
	}
}

// TestArenaRefusesBlockOperations: blocks of an arena are not freed one by one, nor anything that is no block.
func TestArenaRefusesBlockOperations(t *testing.T) {
	region := newGoRegion(t, 64<<20)
	a, _ := region.join(t)
	c := mustCache(t, a)
	r := mustArena(t, c, nil)
	growArena(t, r)
	for _, p := range []unsafe.Pointer{r.Address(), r.base, unsafe.Add(r.base, 16), unsafe.Add(r.base, layout.GranuleSize)} {
		for _, s := range []Source{a, c} {
			if err := s.Free(p); !errors.Is(err, ErrInArena) || !errors.Is(err, ErrNotAllocated) {
				t.Errorf("Free of %p says %v", p, err)
			}
			if _, err := s.UsableSize(p); !errors.Is(err, ErrInArena) {
				t.Errorf("UsableSize of %p says %v", p, err)
			}
			if err := s.Publish(p); !errors.Is(err, ErrInArena) {
				t.Errorf("Publish of %p says %v", p, err)
			}
		}
	}
	if _, err := OpenArena(a, r.Address()); !errors.Is(err, ErrNotPublished) {
		t.Errorf("OpenArena of an arena that is not published says %v", err)
	}
	block, _ := a.Alloc(100_000)
	for _, p := range []unsafe.Pointer{nil, block, a.memory.Pointer(0), a.memory.Pointer(a.memory.Size() - 8)} {
		if _, err := OpenArena(a, p); !errors.Is(err, ErrNotAllocated) {
			t.Errorf("OpenArena of %p says %v", p, err)
		}
	}
	for _, align := range []uint64{0, 3, 1 << 63} {
		if _, err := r.AllocAligned(1, align); !errors.Is(err, ErrAlign) {
			t.Errorf("alignment %d: %v", align, err)
		}
	}
	for _, size := range []uint64{1 << 40, ^uint64(0), ^uint64(0) - 16} {
		if _, err := r.Alloc(size); !errors.Is(err, ErrTooLarge) {
			t.Errorf("size %#x: %v", size, err)
		}
	}
	mustArenas(t, a, 1, 3)
}

// TestArenaWithoutSpace: a heap that has no room for a chunk of the usual size has room for the block.
func TestArenaWithoutSpace(t *testing.T) {
	region := newGoRegion(t, 16<<20)
	a, _ := region.join(t)
	r := mustArena(t, mustCache(t, a), nil)
	total := uint64(0)
	for {
		_, err := r.Alloc(60_000)
		if errors.Is(err, ErrNoSpace) || errors.Is(err, ErrTooLarge) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		total += 60_000
	}
	if free := region.geometry.Size - region.geometry.Sections.Data; total < free*8/10 {
		t.Errorf("an arena got %d of %d bytes", total, free)
	}
	mustCheck(t, a)
	if err := r.Free(); err != nil {
		t.Fatal(err)
	}
	mustArenas(t, a, 0, 0)
}

// TestPublishArenaInto: the arena is reachable or unchanged.
func TestPublishArenaInto(t *testing.T) {
	region := newGoRegion(t, 16<<20)
	a, _ := region.join(t)
	c := mustCache(t, a)
	holder, err := New[[2]unsafe.Pointer](a)
	if err != nil {
		t.Fatal(err)
	}
	holder[1] = unsafe.Pointer(holder)
	r := mustArena(t, c, nil)
	if err := r.PublishInto(&holder[1]); !errors.Is(err, ErrOccupied) {
		t.Fatalf("PublishInto an occupied word says %v", err)
	}
	if _, err := r.Alloc(16); err != nil {
		t.Fatal(err)
	}
	if err := r.PublishInto(new(unsafe.Pointer)); !errors.Is(err, ErrNotInHeap) {
		t.Fatalf("PublishInto Go memory says %v", err)
	}
	if err := r.PublishInto(&holder[0]); err != nil || holder[0] != r.Address() {
		t.Fatalf("the word leads to %p: %v", holder[0], err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	mustArenas(t, a, 1, 1)
}

// TestPublishIntoSettled: what a dead process was publishing into a word that is still nil is freed.
func TestPublishIntoSettled(t *testing.T) {
	region := newGoRegion(t, 16<<20)
	survivor, _ := region.join(t)
	maker, member := region.join(t)
	word := mustAlloc(t, mustCache(t, survivor), 64)
	region.memory.Word(word).StoreRelease(0)
	c := mustCache(t, maker)
	r := mustArena(t, c, nil)
	growArena(t, r)
	c.setIntent(r.head<<layout.GranuleShift, layout.IntentAlloc, word)
	if err := c.publishArena(r.head); err != nil {
		t.Fatal(err)
	}
	member.die()
	if got, err := survivor.Recover(); err != nil || got.Arenas != 1 {
		t.Fatalf("recovered %+v: %v", got, err)
	}
	mustArenas(t, survivor, 0, 0)
	mustCount(t, survivor, 1)
}

// newest returns the granule of the chunk that was added last.
func newest(a *Allocator, r *Arena) uint64 { return a.arenaRecord(r.head).Next.Load() }

// TestDamagedArenaList: Check names the damage, and freeing goes by the descriptors instead.
func TestDamagedArenaList(t *testing.T) {
	for name, next := range map[string]uint64{"cut": 0, "wild": 1 << 40, "itself": 1} {
		t.Run(name, func(t *testing.T) {
			a, _ := newGoRegion(t, 64<<20).join(t)
			r := mustArena(t, a, nil)
			growArena(t, r)
			if err := r.Publish(); err != nil {
				t.Fatal(err)
			}
			if name == "itself" {
				next = newest(a, r)
			}
			a.arenaRecord(newest(a, r)).Next.StoreRelease(next)
			if err := a.Check().Err(); !errors.Is(err, ErrCorrupt) {
				t.Errorf("Check says %v", err)
			}
			if _, err := r.Size(); name != "cut" && !errors.Is(err, ErrCorrupt) {
				t.Errorf("Size says %v", err)
			}
			if name == "cut" {
				return
			}
			if err := r.Free(); err != nil {
				t.Fatal(err)
			}
			mustArenas(t, a, 0, 0)
		})
	}
}

// meddler is a cache beside which a peer writes into the tables, whenever its arena has grown or was reset.
type meddler struct {
	*Cache
	write func()
}

func (m *meddler) useForArena(f func(*Cache) error) error {
	defer m.write()
	return m.Cache.useForArena(f)
}

// TestArenaOfHostilePeer: where an arena allocates, and how much, does not depend on what a peer writes into its
// descriptors and states.
func TestArenaOfHostilePeer(t *testing.T) {
	for name, write := range map[string]func(a *Allocator, head, newest uint64){
		"next":  func(a *Allocator, head, _ uint64) { a.arenaRecord(head).Next.Swap(1 << 40) },
		"used":  func(a *Allocator, head, newest uint64) { a.arenaRecord(newest).Used.Swap(1 << 50) },
		"state": func(a *Allocator, head, newest uint64) { a.states[newest].Or(1 << 62) },
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := newGoRegion(t, 64<<20).join(t)
			m := &meddler{mustCache(t, a), func() {}}
			r := mustArena(t, m, nil)
			m.write = func() { write(a, r.head, max(newest(a, r), r.head)) }
			for _, size := range []uint64{100_000, 1 << 40, 60_000, 200_000} {
				p, err := r.Alloc(size)
				if off, ok := a.memory.Offset(p); err == nil && (!ok || !a.memory.Contains(off, size)) {
					t.Fatalf("a block of %d bytes at %p", size, p)
				}
				write(a, r.head, r.head)
				r.Reset()
			}
		})
	}
}

// TestArenasAtOnce: peers make, fill, publish and free arenas, those of others too, while Check looks on.
func TestArenasAtOnce(t *testing.T) {
	region := newGoRegion(t, 64<<20)
	watcher, _ := region.join(t)
	published := make(chan unsafe.Pointer, 64)
	var makers, freers sync.WaitGroup
	for range 3 {
		a, _ := region.join(t)
		makers.Go(func() { makeArenas(t, a, published) })
	}
	for range 2 {
		a, _ := region.join(t)
		freers.Go(func() { freeArenas(t, a, published) })
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		makers.Wait()
		close(published)
		freers.Wait()
	}()
	for {
		if err := watcher.Check().Err(); err != nil {
			t.Error(err)
		}
		select {
		case <-done:
			mustArenas(t, watcher, 0, 0)
			return
		default:
		}
	}
}

func makeArenas(t *testing.T, a *Allocator, published chan<- unsafe.Pointer) {
	for i := range 200 {
		r, err := NewArena(a, nil)
		for range i % 5 * 40 {
			if err == nil {
				_, err = r.Alloc(3000)
			}
		}
		if err == nil && i%3 != 0 {
			if err = r.Publish(); err == nil {
				published <- r.Address()
			}
		} else if err == nil {
			err = errors.Join(r.Reset(), r.Free())
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}

func freeArenas(t *testing.T, a *Allocator, published <-chan unsafe.Pointer) {
	for p := range published {
		r, err := OpenArena(a, p)
		if err != nil {
			t.Error(err)
			continue
		}
		if err := r.Free(); err != nil {
			t.Error(err)
		}
	}
}

// TestArenaFreedTwiceAtOnce: of two peers that free an arena one succeeds.
func TestArenaFreedTwiceAtOnce(t *testing.T) {
	region := newGoRegion(t, 64<<20)
	one, _ := region.join(t)
	two, _ := region.join(t)
	for range 200 {
		r := mustArena(t, one, nil)
		if err := r.Publish(); err != nil {
			t.Fatal(err)
		}
		var opened []*Arena
		for _, a := range []*Allocator{one, two} {
			x, err := OpenArena(a, r.Address())
			if err != nil {
				t.Fatal(err)
			}
			opened = append(opened, x)
		}
		errs := make(chan error, 2)
		for _, x := range opened {
			go func() { errs <- x.Free() }()
		}
		if e, f := <-errs, <-errs; (e == nil) == (f == nil) {
			t.Fatalf("two who free an arena get %v and %v", e, f)
		}
	}
	mustArenas(t, one, 0, 0)
}
