//go:build (amd64 || arm64) && !crashpoint && !shmheap_portable

package crash

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
)

// settle recovers a scene in which a process has died and accounts for every block:
//
//	in use == reachable + leaked        leaked is no more than the operation may leak
//	granules == those of slabs, large blocks, arenas and tables + free ones
//
// Then it takes everything that can be had of the operation's size, so that a block that is there twice
// shows, and gives it back.
func (p *party) settle(mayLeak int) (leaked uint64, err error) {
	if _, err := p.alloc.Recover(); err != nil {
		return 0, fmt.Errorf("recover: %w", err)
	}
	if err := p.settleQueue(); err != nil {
		return 0, fmt.Errorf("recover hands: %w", err)
	}
	if err := errors.Join(p.settleLocks(), p.settleRing(), p.settleStream()); err != nil {
		return 0, fmt.Errorf("locks and rings: %w", err)
	}
	if err := p.clean(); err != nil {
		return 0, err
	}
	reachable, count, err := p.blocks()
	if err == nil {
		err = apart(reachable)
	}
	if err != nil {
		return 0, err
	}
	stats, err := p.alloc.Stats()
	if err != nil {
		return 0, err
	}
	if leaked = stats.Live + stats.Arenas - uint64(count); leaked > uint64(mayLeak) {
		return 0, fmt.Errorf("%d blocks and %d arenas are in use, %d reachable: %+v", stats.Live, stats.Arenas, count, stats)
	}
	if err := p.balanced(&stats); err != nil {
		return 0, err
	}
	if err := p.exhaust(reachable); err != nil {
		return 0, err
	}
	return leaked, p.clean()
}

// clean wants a check to find nothing, of the dead neither.
func (p *party) clean() error {
	r := p.alloc.Check()
	notes := slices.DeleteFunc(r.Notes, func(n string) bool { return strings.Contains(n, "a stale hint") })
	if len(r.Problems)+len(notes) > 0 {
		return fmt.Errorf("check: problems %q, notes %q", r.Problems, notes)
	}
	return nil
}

// balanced wants each granule to be something.
func (p *party) balanced(s *alloc.Stats) error {
	g := p.heap.Geometry()
	granules := s.FreeGranules + (s.LargeBytes+s.ArenaBytes)>>layout.GranuleShift
	for _, c := range s.Classes {
		granules += c.Slabs * uint64(layout.Classes[layout.ClassOf(c.Size)].Granules)
	}
	if want := g.Granules() - g.FirstGranule(); granules != want || s.Claimed != 0 {
		return fmt.Errorf("%d granules are accounted for, the heap has %d: %+v", granules, want, *s)
	}
	return nil
}

// dissolve frees all that is reachable, closes the caches, and wants everything to be free: what is left is
// the ledger, and what leaked, each with its slab or granules, or several in one slab.
func (p *party) dissolve(leaked uint64) error {
	if err := p.dropArenas(); err != nil {
		return err
	}
	for i := range p.ledger.slots {
		if err := p.drop(p.cache, i); err != nil {
			return fmt.Errorf("empty slot %d: %w", i, err)
		}
	}
	if err := p.sweep(); err != nil {
		return err
	}
	for _, c := range []*alloc.Cache{p.cache, p.other} {
		if err := c.Close(); err != nil {
			return err
		}
	}
	s, err := p.alloc.Stats()
	if err != nil {
		return err
	}
	if spans := s.Slabs + s.Large + s.Arenas; s.Live+s.Arenas != 1+leaked || spans > 1+leaked || spans < min(1+leaked, 2) {
		return fmt.Errorf("everything was freed, %d leaked, and there is %+v", leaked, s)
	}
	if err := p.balanced(&s); err != nil {
		return err
	}
	return p.clean()
}

// dropArenas frees the arenas that the ledger leads to.
func (p *party) dropArenas() error {
	arenas := make(map[uintptr]*alloc.Arena)
	for i := range p.ledger.slots {
		s := &p.ledger.slots[i]
		if _, err := p.alloc.UsableSize(s.block); s.block == nil || !errors.Is(err, alloc.ErrInArena) {
			continue
		}
		r, err := alloc.OpenArena(p.cache, s.block)
		if err != nil {
			return fmt.Errorf("slot %d: %w", i, err)
		}
		arenas[uintptr(r.Address())] = r
		s.block, s.stamp = nil, 0
	}
	for _, r := range arenas {
		if err := r.Free(); err != nil {
			return err
		}
	}
	return nil
}

// sweep adopts the slabs that nobody owns, by allocating all that is free in them. Where there are samples the
// slabs are of two kinds, of which Alloc chooses: there Trim does it.
func (p *party) sweep() error {
	if p.alloc.ProfileRate() != 0 {
		_, err := p.alloc.Trim()
		return err
	}
	s, err := p.alloc.Stats()
	if err != nil {
		return err
	}
	for _, class := range s.Classes {
		var all []taken
		for range class.Free {
			b, err := p.cache.Alloc(class.Size)
			if err != nil {
				return err
			}
			all = append(all, taken{block: b})
		}
		for _, x := range all {
			if err := p.cache.Free(x.block); err != nil {
				return err
			}
		}
	}
	return nil
}

// peerByte is the byte of a heap's file that a peer keeps locked (doc/format.md).
func peerByte(id heap.PeerID) int64 { return 1<<62 + int64(id.Slot()) }
