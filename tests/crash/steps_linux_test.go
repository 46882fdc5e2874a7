//go:build (amd64 || arm64) && !crashpoint && !shmheap_portable

package crash

import (
	"context"
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/alloc"
)

func allocatesAligned(align uint64) step {
	return func(p *party) (err error) {
		p.ledger.slots[subject].block, err = p.cache.AllocAligned(p.size, align)
		return err
	}
}

// allocatesAt fills n slots by Alloc, as puts does by AllocInto.
func allocatesAt(first, n int) step {
	return each(first, n, func(p *party, i int) error {
		b, err := p.cache.Alloc(p.size)
		if err != nil {
			return err
		}
		stamp := makeStamp(p.random, p.size)
		fill(b, stamp)
		p.ledger.slots[i] = entry{block: b, stamp: stamp}
		return nil
	})
}

// freesAll empties n slots by Free, as drops does by FreeFrom.
func freesAll(first, n int) step {
	return each(first, n, func(p *party, i int) error { return p.cache.Free(p.takeAway(i)) })
}

// leavesEmpty leaves a slab of nobody whose blocks are all free. The slots are empty again.
func leavesEmpty(first int) step {
	return steps(putsOther(first, 3), closesOther, freesAll(first, 3))
}

// samplesAll makes every block that is allocated from now on a sample.
func samplesAll(p *party) error { return p.alloc.SetProfileRate(1) }

func samplesNone(p *party) error { return p.alloc.SetProfileRate(0) }

func makesCareful(p *party) (err error) {
	p.cache, err = p.alloc.NewCacheOptions(&alloc.CacheOptions{Careful: true})
	return err
}

// Reallocations of the subject. Where it is to stay, the slot leads to it all the time; a move takes the pointer
// away first, as a program without ReallocInto has to.

var errStayed, errMoved = errors.New("the block stayed where it was"), errors.New("the block moved")

func resizes(size uint64) step {
	return func(p *party) error {
		s := &p.ledger.slots[subject]
		b, err := p.cache.Realloc(s.block, size)
		if err == nil && b != s.block {
			err = errMoved
		}
		return err
	}
}

func moves(size uint64) step {
	return func(p *party) error {
		s := &p.ledger.slots[subject]
		stamp, old := s.stamp, p.takeAway(subject)
		b, err := p.cache.Realloc(old, size)
		if err != nil {
			b = old
		} else if b == old {
			err = errStayed
		}
		s.block, s.stamp = b, stamp
		return err
	}
}

func resizesInto(size uint64) step {
	return func(p *party) error { return p.cache.ReallocInto(&p.ledger.slots[subject].block, size) }
}

// shortens makes the subject hold only as many bytes as it will have room for.
func shortens(size uint64) step {
	return func(p *party) error {
		s := &p.ledger.slots[subject]
		s.stamp = makeStamp(p.random, size)
		fill(s.block, s.stamp)
		return nil
	}
}

func resizesKept(size uint64) step {
	return func(p *party) (err error) {
		*p.kept, err = p.cache.Realloc(*p.kept, size)
		return err
	}
}

func makesArena(p *party) (err error) {
	p.arena, err = alloc.NewArena(p.cache, nil)
	return err
}

func makesArenaHeapWide(p *party) (err error) {
	p.arena, err = alloc.NewArena(p.alloc, nil)
	return err
}

// fillsArena allocates one block, which is the arena's while that is not published.
func fillsArena(p *party) error {
	b, err := p.arena.Alloc(p.size)
	if err == nil {
		x := taken{b, makeStamp(p.random, p.size)}
		fill(b, x.stamp)
		p.parts = append(p.parts, x)
	}
	return err
}

func allocatesInArena(p *party) error {
	_, err := p.arena.Alloc(p.size)
	return err
}

// makesChunks makes an arena with a small block in its head and large ones in further chunks.
func makesChunks(p *party) error {
	if err := steps(makesArena, sized(64, fillsArena), fillsArena, fillsArena, fillsArena)(p); err != nil {
		return err
	}
	size, err := p.arena.Size()
	if err == nil && size.Chunks < 3 {
		err = fmt.Errorf("an arena of %+v, want more chunks", size)
	}
	return err
}

func resetsArena(p *party) error { return p.arena.Reset() }

func freesArena(p *party) error { return p.arena.Free() }

// losesArena makes it live on with nothing that leads to it.
func losesArena(p *party) error { return p.arena.Publish() }

func publishesArena(p *party) error {
	err := p.arena.Publish()
	p.enterParts(subject, err)
	return err
}

func publishesArenaInto(slot int) step {
	return func(p *party) error {
		s := &p.ledger.slots[slot]
		if s.block == nil {
			s.stamp = p.parts[0].stamp // of what the arena begins with
		}
		err := p.arena.PublishInto(&s.block)
		p.enterParts(slot, err)
		return err
	}
}

// enterParts makes an arena that is published reachable by its first and its last block.
func (p *party) enterParts(slot int, err error) {
	if err == nil {
		first, last := p.parts[0], p.parts[len(p.parts)-1]
		p.ledger.slots[slot] = entry{block: first.block, stamp: first.stamp}
		p.ledger.slots[slot+1] = entry{block: last.block, stamp: last.stamp}
	}
}

// leavesOneWay makes an arena reachable by its first block alone.
func leavesOneWay(slot int) step {
	return func(p *party) error {
		p.takeAway(slot + 1)
		return nil
	}
}

func freesPublished(slot int) step {
	return func(p *party) error {
		r, err := alloc.OpenArena(p.cache, p.takeAway(slot))
		if err == nil {
			err = r.Free()
		}
		return err
	}
}

func opensArena(slot int) step {
	return func(p *party) error {
		r, err := alloc.OpenArena(p.cache, p.ledger.slots[slot].block)
		if err != nil {
			return err
		}
		size, err := r.Size()
		if err == nil && size.Chunks < 3 {
			err = fmt.Errorf("an arena of %+v, want more chunks", size)
		}
		return err
	}
}

// lostBlocks is how many blocks losesAll leaves to Collect.
const lostBlocks = 6

// losesAll leaves what nothing leads to: blocks of a slab of the process's and of nobody's, among others that are
// reachable, two large ones, and an arena.
func losesAll(p *party) error {
	err := steps(puts(mine, 4), putsOther(mine+10, 3), sized(100_000, puts(mine+20, 2)), sized(64, putsOther(mine+30, 1)), closesOther,
		sized(100_000, makesChunks), losesArena)(p)
	for _, slot := range []int{mine, mine + 2, mine + 10, mine + 20, mine + 21, mine + 30} {
		p.takeAway(slot)
	}
	return err
}

func collects(p *party) error {
	done, err := p.alloc.Collect(context.Background(), nil)
	if err == nil && done.Blocks != lostBlocks+1 {
		err = fmt.Errorf("collected %+v, want %d blocks and an arena", done, lostBlocks)
	}
	return err
}
