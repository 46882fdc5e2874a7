package alloc

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// One block of about every ProfileRate bytes allocated is a sample, for which the heap remembers who allocated
// it. To the short way of Alloc this costs nothing: a bin knows how many of its allocations come before the next
// sample, and its front has no more free bits than that. Samples come from slabs of their own, whose state has
// FlagSampled and which have a word for each block that names the site.
//
// That number is drawn from the exponential distribution, so each byte is as likely to be sampled as any other,
// whatever the bins (Poisson sampling, as in the heap profiles of tcmalloc and Go's runtime).
//
//	killed                                   left is
//	between the word and the bit             a free block, whose word means nothing
//	anywhere in making a site                an entry of a dead peer, that others take
type sampler struct {
	setting *mem.Word // ProfileRate; nil in bins that are not sampled
	rate    uint64    // that until was drawn for
	until   uint64    // allocations before the sample, without those that the front has bits for
}

// sample makes the allocations of the bins obey the rate in that word.
func (s *bins) sample(rate *mem.Word) {
	for i := range s.all {
		s.all[i].setting = rate
	}
}

// sampleDue reports whether the next allocation of a bin without free bits is a sample.
func (b *bin) sampleDue() bool {
	if b.setting == nil || b.free != 0 || b.setting.Load()|b.rate == 0 {
		return false
	}
	b.obey()
	return b.rate != 0 && b.until == 0
}

// obey notices another rate. What was drawn for the old one can be drawn anew, as the distribution has no memory.
func (b *bin) obey() {
	if rate := b.setting.Load(); rate != b.rate {
		b.rate = rate
		b.draw()
	}
}

func (b *bin) draw() {
	b.until = uint64(min(rand.ExpFloat64()*float64(b.rate)/float64(b.size), 1<<60))
}

// hide returns those of the free bits that come before the next sample, lowest first, and takes back those that
// the front has left.
func (b *bin) hide(free, left uint64) uint64 {
	if b.setting == nil || b.setting.Load()|b.rate == 0 {
		return free
	}
	b.until += uint64(bits.OnesCount64(left))
	if b.obey(); b.rate == 0 || free == 0 {
		return free
	}
	rest := free
	for n := max(b.until, 1); n > 0 && rest != 0; n-- {
		rest &= rest - 1
	}
	free &^= rest
	b.until -= min(uint64(bits.OnesCount64(free)), b.until)
	return free
}

// peekShared returns the block that the next allocation of size bytes shall take, its bin and its bit there.
func (c *Cache) peekShared(size uint64) (b *bin, off, bit uint64, err error) {
	return c.peekWithRoom(size, size)
}

// peekWithRoom is peekShared for a block that has room bytes, unless it is a sample. Samples come too often then, by
// as much as the room is larger, and so many are left out.
func (c *Cache) peekWithRoom(size, room uint64) (b *bin, off, bit uint64, err error) {
	b = &c.common().all[layout.ClassOf(room)]
	if b.sampleDue() {
		b.draw()
		asked := uint64(layout.Classes[layout.ClassOf(size)].Size)
		if asked == b.size || rand.Float64()*chance(b.size, b.rate) < chance(asked, b.rate) {
			if s, off, bit, err := c.peekSample(size); err == nil {
				return s, off, bit, nil
			}
		}
	}
	off, bit, err = c.peekBlock(b)
	return b, off, bit, err
}

// chance is how likely a block of that size class is a sample.
func chance(size, rate uint64) float64 { return -math.Expm1(-float64(size) / float64(rate)) }

// peekSample is peekBlock for a sample. The block's word is there before the block is taken.
func (c *Cache) peekSample(size uint64) (b *bin, off, bit uint64, err error) {
	b = &c.sampledBins().all[layout.ClassOf(max(size, layout.SampleMin))]
	if off, bit, err = c.peekBlock(b); err != nil {
		return nil, 0, 0, err
	}
	i := uint64(b.index)*64 + uint64(bits.TrailingZeros64(bit))
	site := uint64(c.a.sites.here(c.a))
	c.a.samples(b.slab.head).Blocks[i].StoreRelease(site | max(size, 1)<<32)
	crashpoint.Hit("alloc.sample.after-word")
	return b, off, bit, nil
}

func (c *Cache) sampledBins() *bins {
	if c.sampled == nil {
		c.sampled = new(bins)
		c.sampled.init(layout.FlagSampled)
	}
	return c.sampled
}

// sampleLarge returns what the descriptor of a large block shall say.
func (c *Cache) sampleLarge(size uint64) uint64 {
	rate := c.a.super.ProfileRate.Load()
	if rate == 0 || rand.ExpFloat64()*float64(rate) > float64(size) {
		return 0
	}
	return layout.SampleLarge | uint64(c.a.sites.here(c.a))
}

// samples returns the words of the slab of samples at head.
func (a *Allocator) samples(head uint64) *layout.Samples {
	return mem.View[layout.Samples](a.memory, a.tables.Fine+head*layout.FineSize)
}

// commitSamples gives the words of a slab of samples storage.
func (a *Allocator) commitSamples(head uint64, own layout.State) error {
	if own.Flags()&layout.FlagSampled == 0 {
		return nil
	}
	return a.region.Commit(a.tables.Fine+head*layout.FineSize, layout.FineSize)
}

// DefaultProfileRate is a rate that costs little and shows what matters.
const DefaultProfileRate = 512 << 10

// SetProfileRate makes one block of about every so many allocated bytes a sample, in all processes, from
// the next time on that their caches look for blocks; 0, as at the beginning, makes no more. Private blocks of
// slabs are not sampled. It returns ErrClosed.
func (a *Allocator) SetProfileRate(bytes uint64) error {
	if err := a.enterToWrite(); err != nil {
		return fmt.Errorf("set profile rate: %w", err)
	}
	defer a.leave()
	a.super.ProfileRate.Swap(bytes)
	return nil
}

// ProfileRate returns how many bytes are allocated for each sample, 0 when there are none or the allocator is
// closed.
func (a *Allocator) ProfileRate() uint64 {
	if a.enter() != nil {
		return 0
	}
	defer a.leave()
	return a.super.ProfileRate.Load()
}
