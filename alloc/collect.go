package alloc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
)

// CollectOptions say how Collect works. The zero value is valid, and nil stands for it.
type CollectOptions struct {
	// DryRun frees nothing.
	DryRun bool
	// Offsets makes words that are offsets into the heap's data count as references too. Programs that keep
	// offsets need it, and queues of package queue do. It keeps more that is garbage, as many numbers are offsets.
	Offsets bool
	// Roots are offsets of bytes whose blocks are kept, with all they lead to, as if named roots led there.
	Roots []uint64
	// Visit is called for each unreachable block and arena, in the order of their addresses, before it is freed.
	Visit func(Leak)
	// Progress is called from time to time.
	Progress func(CollectProgress)

	stackLimit int // for tests
}

// CollectProgress is how far a collection has come.
type CollectProgress struct {
	Scanned uint64 // bytes of blocks that have been searched for references
	Blocks  uint64 // blocks and arenas that have been reached
	InUse   uint64 // bytes of the spans that blocks and arenas lie in: a bound of Scanned
}

// Leak is a block, or an arena, that nothing leads to.
type Leak struct {
	Address uint64 // of its first byte
	Size    uint64 // bytes, rounded up to its size class; of an arena, those of its chunks
	Arena   bool   // it is an arena
	Site    string // where it was allocated, as "function file:line", if it is a sample of the profile
}

// LeakGroup counts leaks that are alike.
type LeakGroup struct {
	Size   uint64 // bytes of one
	Arena  bool   // they are arenas
	Site   string // as in Leak
	Blocks uint64 // how many there are
	Bytes  uint64 // of all
}

// RootReach is what was reached from one root and from none before it.
type RootReach struct {
	Name, Type string // of the root; "" for what Options.Roots and the owners of private blocks hold
	Blocks     uint64 // blocks and arenas
	Bytes      uint64 // their bytes
}

// Collected is what Collect found.
type Collected struct {
	Leaks   []LeakGroup // what is unreachable, freed unless it was a dry run, most bytes first
	Blocks  uint64      // blocks and arenas in Leaks
	Bytes   uint64      // their bytes
	Reached []RootReach // by root, in the order of the table of roots
	Scanned uint64      // bytes that were searched for references
}

// Collect frees the blocks and published arenas that nothing leads to, such as those that a process leaked that was
// killed between Alloc and storing the pointer. It begins at the named roots, the blocks in Options.Roots, and what is
// private to a cache that is open, which its owner will free: that is kept. Each aligned 8-byte word of a block that is
// kept is a reference if it is an address in another block, its begin or any other byte; the same goes for
// offsets if the options say so. A block of an arena keeps the whole arena. Words that are a reference by chance keep
// what they lead to; references that are kept in another form, packed with other bits or outside the heap, keep nothing:
// what only Go variables point to is freed.
//
// The heap must be this process's alone: Collect returns heap.ErrNotAlone, naming the others, when it is not, and
// keeps others from attaching until it returns. In this process nobody may use the heap meanwhile. Caches may
// be open; a goroutine that is in the middle of Alloc, Free or a store of a pointer may lose what it holds.
//
// Nothing is freed before all that is reachable is known, and nothing at all when the states, bitmaps or roots are
// damaged: ErrCorrupt. When ctx ends, Collect returns its error, having freed none or some. Killed at any
// point, some unreachable blocks are free and others are not; collecting again finds the rest. It needs memory
// outside the heap: at most 1/64 of the bytes in use, and 48 bytes a span.
func (a *Allocator) Collect(ctx context.Context, opts *CollectOptions) (Collected, error) {
	var o CollectOptions
	if opts != nil {
		o = *opts
	}
	done, err := a.collectAlone(ctx, &o)
	if err != nil {
		return done, fmt.Errorf("collect: %w", err)
	}
	return done, nil
}

func (a *Allocator) collectAlone(ctx context.Context, o *CollectOptions) (Collected, error) {
	release, err := a.region.Alone()
	if err != nil {
		return Collected{}, err
	}
	defer release()
	if _, err := a.Recover(); err != nil {
		return Collected{}, err
	}
	if err := a.enter(); err != nil {
		return Collected{}, err
	}
	defer a.leave()
	roots, err := a.region.Roots()
	if err != nil {
		return Collected{}, err
	}
	m := marker{a: a, ctx: ctx, opts: o}
	if err := m.survey(); err != nil {
		return Collected{}, err
	}
	if err := m.markAll(roots); err != nil {
		return m.done, err
	}
	return a.sweepMarked(&m)
}

// markAll reaches everything that is kept.
func (m *marker) markAll(roots []heap.Root) error {
	for _, r := range roots {
		m.mark(r.Offset)
		if err := m.reached(r.Name, r.TypeName); err != nil {
			return err
		}
	}
	for _, off := range m.opts.Roots {
		m.mark(off)
	}
	m.markOwned()
	return m.reached("", "")
}

// sweeper frees what was not marked, or only lists it.
type sweeper struct {
	*marker
	c      *Cache
	groups map[LeakGroup]*LeakGroup // by what their leaks have in common
}

func (a *Allocator) sweepMarked(m *marker) (Collected, error) {
	w := sweeper{marker: m, groups: make(map[LeakGroup]*LeakGroup)}
	if !m.opts.DryRun {
		c, err := a.newCache()
		if err != nil {
			return m.done, err
		}
		w.c = c
	}
	err := w.sweep()
	if w.c != nil {
		err = errors.Join(err, w.c.Close())
	}
	for _, g := range w.groups {
		m.done.Leaks = append(m.done.Leaks, *g)
	}
	slices.SortFunc(m.done.Leaks, func(x, y LeakGroup) int {
		return cmp.Or(cmp.Compare(y.Bytes, x.Bytes), cmp.Compare(y.Size, x.Size), cmp.Compare(x.Site, y.Site))
	})
	return m.done, err
}

func (w *sweeper) sweep() error {
	for i := range w.spans {
		if err := w.ctx.Err(); i%1024 == 0 && err != nil {
			return err
		}
		s := &w.spans[i]
		var err error
		switch s.kind {
		case layout.KindSlab:
			w.sweepSlab(s)
		case layout.KindLarge, layout.KindArena:
			if w.marks[s.bits] == 0 {
				err = w.sweepSpan(s)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepSlab frees up to 64 blocks with one OR into the remote bitmap, as any cache may. A slab that is
// nobody's and empty then goes back.
func (w *sweeper) sweepSlab(s *marked) {
	class := &layout.Classes[s.class]
	v := w.a.slab(uint64(s.head), layout.MakeState(layout.KindSlab, int(s.class), 0, uint64(class.Granules)))
	kept := uint64(0)
	for i := range v.local {
		at := s.bits + uint64(i)
		kept |= w.live[at] & w.marks[at]
		leaked := w.live[at] &^ w.marks[at]
		for rest := leaked; rest != 0; rest &= rest - 1 {
			w.found(w.a.blockAddress(s, uint64(i), rest), uint64(class.Size), false)
		}
		if leaked != 0 && w.c != nil {
			v.remote[i].Or(leaked)
			add(&w.c.record.Counts.Remote, uint64(bits.OnesCount64(leaked)))
			crashpoint.Hit("alloc.sweep.after-word")
		}
	}
	if kept == 0 && w.c != nil {
		w.c.releaseOrphan(int(s.class), uint64(s.head))
	}
}

// releaseOrphan gives back a slab that nobody owns and all of whose blocks are free. When it is not one, or one of
// samples, it stays.
func (c *Cache) releaseOrphan(class int, head uint64) {
	s, ok := c.tryAdopt(class, 0, head)
	if !ok {
		return
	}
	b := &c.common().all[class]
	if !c.a.isEmpty(s) || c.releaseSlab(b, s) != nil {
		b.queue.push(head) // disowned by Close
	}
}

// sweepSpan frees a large block or a published arena.
func (w *sweeper) sweepSpan(s *marked) error {
	head, isArena := uint64(s.head), s.kind == layout.KindArena
	bytes := uint64(0)
	for at := s; at != nil; at = w.nextChunk(at) {
		bytes += uint64(at.run) << layout.GranuleShift
	}
	w.found(w.a.address(head<<layout.GranuleShift), bytes, isArena)
	if w.c == nil {
		return nil
	}
	if isArena {
		return (&Arena{s: w.c, head: head, stopped: ErrPublished}).Free()
	}
	if err := w.c.freeAny(head << layout.GranuleShift); err != nil {
		return fmt.Errorf("free %w", err)
	}
	return nil
}

// found counts a leak.
func (w *sweeper) found(address, size uint64, isArena bool) {
	leak := Leak{Address: address, Size: size, Arena: isArena}
	if !isArena {
		leak.Site = w.a.siteOf(address - w.a.address(0))
	}
	if w.opts.Visit != nil {
		w.opts.Visit(leak)
	}
	kind := LeakGroup{Size: size, Arena: isArena, Site: leak.Site}
	g := w.groups[kind]
	if g == nil {
		g = &LeakGroup{Size: size, Arena: isArena, Site: leak.Site}
		w.groups[kind] = g
	}
	g.Blocks++
	g.Bytes += size
	w.done.Blocks++
	w.done.Bytes += size
}

// siteOf returns the innermost place that allocated the block at off, "" when the profile has no sample of it.
func (a *Allocator) siteOf(off uint64) string {
	b, err := a.locate(off)
	if err != nil {
		return ""
	}
	number := uint32(0)
	if b.local == nil {
		if w := a.large(b.head).Sample.Load(); w&layout.SampleLarge != 0 {
			number = uint32(w)
		}
	} else if b.state.Flags()&layout.FlagSampled != 0 && a.hasStorage((a.tables.Fine+b.head*layout.FineSize)>>layout.GranuleShift) {
		i := (off - b.head<<layout.GranuleShift) / uint64(layout.Classes[b.state.Class()].Size)
		number = uint32(a.samples(b.head).Blocks[i].Load())
	}
	if number == 0 {
		return ""
	}
	t, _ := a.readSite(number)
	_, stack, _ := strings.Cut(t.text, "\n")
	frame, _, _ := strings.Cut(stack, "\n")
	return strings.Replace(frame, "\t", " ", 1)
}
