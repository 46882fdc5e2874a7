package alloc

import (
	"context"
	"errors"
	"fmt"
	"math/bits"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// RebaseOptions say how Rebase works. The zero value is valid, and nil stands for it.
type RebaseOptions struct {
	// Heap says where the heap is: Dir and Group.
	Heap *heap.Options
	// DryRun looks for raw pointers and changes nothing.
	DryRun bool
	// Pointers moves the heap although words look like raw pointers, for a program that knows better: numbers
	// may look so by chance, and a program may mend its own pointers afterwards.
	Pointers bool
}

// Rebased is what Rebase did.
type Rebased struct {
	From, To uint64 // bases
	Blocks   uint64 // blocks in use and arenas that were searched
	Scanned  uint64 // bytes of theirs
}

// PointerError says that a heap cannot be moved because of what its blocks hold. It is ErrPointers.
type PointerError struct {
	Count   uint64 // words that look like addresses in the heap's data
	Address uint64 // of the first of them, at the old base
	Value   uint64 // what it holds
}

// Error implements error.
func (e *PointerError) Error() string {
	return fmt.Sprintf("%v: %d words are addresses in the heap, the first at %#x holds %#x", ErrPointers, e.Count, e.Address, e.Value)
}

// Unwrap returns what errors.Is finds.
func (e *PointerError) Unwrap() error { return ErrPointers }

// Rebase gives a heap that nobody is attached to another base, for a heap whose programs keep offsets and no raw
// pointers. All that this library keeps in a heap are offsets, but for String, Slice and typed pointers, and for the
// block in a Hand. Nothing in the heap is changed but its superblock.
//
// It searches all blocks in use for aligned words that are addresses in the heap's data at the old base, and
// returns a *PointerError when there are any. The old base need not be free in this process. It returns heap.ErrInUse when
// somebody is attached, ErrCorrupt when the heap is damaged, heap.ErrSize for a base that cannot be, and the error
// of ctx. Killed at any point, the heap has the old base or the new one.
func Rebase(ctx context.Context, name string, base uint64, opts *RebaseOptions) (Rebased, error) {
	var o RebaseOptions
	if opts != nil {
		o = *opts
	}
	f, err := heap.OpenOffline(name, o.Heap)
	if err != nil {
		return Rebased{}, fmt.Errorf("rebase: %w", err)
	}
	done, err := rebase(ctx, f, base, &o)
	if err = errors.Join(err, f.Close()); err != nil {
		return done, fmt.Errorf("rebase heap %q: %w", f.Name(), err)
	}
	return done, nil
}

func rebase(ctx context.Context, f *heap.Offline, base uint64, o *RebaseOptions) (Rebased, error) {
	done := Rebased{From: f.Base(), To: base}
	a, err := open(offline{f})
	if err != nil {
		return done, err
	}
	s := search{marker: marker{a: a, ctx: ctx, opts: &CollectOptions{}}, base: f.Base()}
	if err := s.survey(); err != nil {
		return done, err
	}
	err = s.all()
	done.Blocks, done.Scanned = s.blocks, s.done.Scanned
	switch {
	case err != nil:
		return done, err
	case s.found.Count != 0 && !o.Pointers:
		return done, &s.found
	case o.DryRun:
		return done, nil
	}
	return done, f.SetBase(base)
}

// search looks for raw pointers in the blocks of a marker's picture.
type search struct {
	marker
	base  uint64 // of the heap; the memory lies elsewhere
	found PointerError
}

func (s *search) all() error {
	for i := range s.spans {
		span := &s.spans[i]
		if err := s.ctx.Err(); i%1024 == 0 && err != nil {
			return err
		}
		if span.kind != layout.KindSlab {
			s.extent(s.content(span))
			continue
		}
		class := &layout.Classes[span.class]
		for w := range (uint64(class.Blocks) + 63) / 64 {
			for rest := s.live[span.bits+w]; rest != 0; rest &= rest - 1 {
				block := w*64 + uint64(bits.TrailingZeros64(rest))
				s.extent(extent{uint64(span.head)<<layout.GranuleShift + block*uint64(class.Size), uint64(class.Size)})
			}
		}
	}
	return nil
}

// extent searches a block, or the used part of an arena's chunk.
func (s *search) extent(e extent) {
	data := s.a.first << layout.GranuleShift
	first, size := s.base+data, s.a.memory.Size()-data
	for i, v := range mem.Slice[uint64](s.a.memory, e.off, e.n/8) {
		if v-first >= size {
			continue
		}
		if s.found.Count == 0 {
			s.found.Address, s.found.Value = s.base+e.off+8*uint64(i), v
		}
		s.found.Count++
	}
	s.blocks++
	s.done.Scanned += e.n
}

// offline is the region of a heap that nobody is attached to. It cannot be written to, and all its peers are dead.
type offline struct{ f *heap.Offline }

func (r offline) Memory() mem.Memory                 { return r.f.Memory() }
func (r offline) Geometry() layout.Geometry          { return r.f.Geometry() }
func (r offline) Commit(uint64, uint64) error        { return heap.ErrReadOnly }
func (r offline) Decommit(uint64, uint64) error      { return heap.ErrReadOnly }
func (r offline) Committed() uint64                  { return 0 }
func (r offline) Peer() heap.PeerID                  { return 0 }
func (r offline) Alive(heap.PeerID) (bool, error)    { return false, nil }
func (r offline) ReleaseDead() error                 { return heap.ErrReadOnly }
func (r offline) Alone() (release func(), err error) { return nil, heap.ErrReadOnly }
func (r offline) Roots() ([]heap.Root, error)        { return nil, heap.ErrReadOnly }
