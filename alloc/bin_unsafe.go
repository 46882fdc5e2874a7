package alloc

import (
	"math/bits"
	"unsafe"

	"github.com/shmheap/shmheap/internal/layout"
)

// bins are what a cache has of each size class, for blocks of one kind: shared, private, sampled or careful ones.
type bins struct {
	fronts [layout.NumClasses]front
	all    [layout.NumClasses]bin
}

// bin is what a cache has of one size class. It is found again by looking, or by whoever adopts the slabs.
type bin struct {
	*front
	given   uint64 // bits that free had when it was loaded or counted last
	allocs  uint64 // blocks that went, since the last report
	sampler        // of shared blocks

	class int
	flags layout.State // of its slabs
	slab  slab         // the slab of word; its local is nil when there is none
	index int          // of word in slab
	queue queue        // the other slabs of the class, in the order of their last use
	depth int          // how many of them refill looks at

	collected uint64 // blocks that came back from others, since the last report
}

func (s *bins) init(flags layout.State) {
	for i := range s.fronts {
		s.fronts[i].word = &noBlocks
	}
	for class := range s.all {
		s.fronts[class].size = uint64(layout.Classes[class].Size)
		s.all[class] = bin{front: &s.fronts[class], class: class, flags: flags, depth: queueDepth}
	}
}

// state is that of the bin's slabs.
func (b *bin) state(cache uint16) layout.State {
	return layout.MakeState(layout.KindSlab, b.class, cache, uint64(layout.Classes[b.class].Granules)) | b.flags
}

// nextWord moves on to the next word with a free block of the bin's slab, after collecting if need be.
func (b *bin) nextWord(a *Allocator) bool {
	if b.slab.local == nil {
		return false
	}
	if b.reload() || b.findWord(a) {
		return true
	}
	b.collected += a.collect(b.slab)
	return b.findWord(a)
}

// reload makes the blocks of the word allocatable that were freed meanwhile, and reports whether there are some.
func (b *bin) reload() bool {
	b.count()
	b.free = b.hide(b.word.Peek()&b.mask, b.free)
	b.given = b.free
	b.assertLoaded()
	return b.free != 0
}

// reportEvery is how many blocks may go before the cache's record says so.
const reportEvery = 1024

// again takes a block of a bin without free bits, where nothing else is to be done for that: one that was freed in the
// word meanwhile, or one of the slab's words behind it. It is the most frequent end of the short way of Alloc. It returns
// nil where that is not so.
func (b *bin) again(a *Allocator) unsafe.Pointer {
	if b.allocs > reportEvery || b.setting == nil || b.setting.Load()|b.rate != 0 {
		return nil
	}
	b.allocs += uint64(bits.OnesCount64(b.given))
	b.given = 0
	free := b.word.Peek() & b.mask
	if free == 0 {
		if free = b.ahead(a); free == 0 {
			return nil
		}
	}
	b.free, b.given = free, free
	b.assertLoaded()
	return b.take()
}

// ahead moves on to the next word of the slab that has free blocks, and returns which; 0 when none has.
func (b *bin) ahead(a *Allocator) uint64 {
	p := &a.bitmap[b.class]
	for at := b.index + 1; at < len(b.slab.local); at++ {
		if free := b.slab.local[at].Peek() & p.valid(uint64(at)); free != 0 {
			b.aim(a, at)
			return free
		}
	}
	return 0
}

// count notes which blocks went since free was loaded or counted last.
func (b *bin) count() {
	b.allocs += uint64(bits.OnesCount64(b.given &^ b.free))
	b.given = b.free
}

// findWord looks at all words of the slab, beginning behind the current one.
func (b *bin) findWord(a *Allocator) bool {
	p, n := &a.bitmap[b.class], len(b.slab.local)
	for i := range n {
		at := (b.index + 1 + i) % n
		if b.slab.local[at].Peek()&p.valid(uint64(at)) != 0 {
			b.point(a, at)
			return true
		}
	}
	return false
}

func (b *bin) point(a *Allocator, at int) {
	b.aim(a, at)
	b.reload()
}

// aim makes a word of the slab the bin's, which has no free bits.
func (b *bin) aim(a *Allocator, at int) {
	b.index, b.word = at, &b.slab.local[at]
	b.mask = a.bitmap[b.class].valid(uint64(at))
	b.first = a.memory.Pointer(b.slab.head<<layout.GranuleShift + uint64(at)*64*b.size)
}

// use makes s, which has a free block, the bin's slab.
func (b *bin) use(a *Allocator, s slab) {
	b.setAside()
	b.slab, b.index = s, -1
	b.nextWord(a)
}

// setAside puts the bin's slab behind the others.
func (b *bin) setAside() {
	if b.slab.local != nil {
		b.queue.push(b.slab.head)
	}
	b.count()
	b.hide(0, b.free)
	b.slab, b.word, b.free, b.mask, b.given = slab{}, &noBlocks, 0, 0, 0
}

// queue is a ring of slab heads.
type queue struct {
	ring    []uint32
	head, n int
}

func (q *queue) len() int { return q.n }

func (q *queue) push(g uint64) {
	if q.n == len(q.ring) {
		grown := make([]uint32, max(8, 2*q.n))
		for i := range q.n {
			grown[i] = q.ring[(q.head+i)%len(q.ring)]
		}
		q.ring, q.head = grown, 0
	}
	q.ring[(q.head+q.n)%len(q.ring)] = uint32(g)
	q.n++
}

func (q *queue) pop() (uint64, bool) {
	if q.n == 0 {
		return 0, false
	}
	g := q.ring[q.head]
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	return uint64(g), true
}
