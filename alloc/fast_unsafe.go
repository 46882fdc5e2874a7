package alloc

import (
	"math/bits"
	"unsafe"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// front is what Alloc uses of a bin, a cache line of this process's memory. Only the words behind word lie in
// the heap. Every bit in free is set in *word: only the owner clears bits there. That Alloc goes by free, and
// what is freed comes back when free has run out, keeps an Alloc from waiting for the Free in front of it.
type front struct {
	free  uint64         // bits of *word that Alloc takes next
	word  *mem.Word      // a word of a slab's local bitmap; noBlocks when there is none
	first unsafe.Pointer // the block of bit 0
	size  uint64         // of a block
	mask  uint64         // bits of *word that stand for blocks
	_     [24]byte
}

// frontOf has, for each size in units of 16 bytes, where the front of its class lies among those of a bins.
var frontOf = makeFrontOf()

func makeFrontOf() (t [layout.MaxSmall/16 + 1]uint16) {
	for i := range t {
		t[i] = uint16(layout.ClassOf(uint64(i)*16) * int(unsafe.Sizeof(front{})))
	}
	return t
}

// front returns the front for blocks of size bytes, at most layout.MaxSmall.
func (s *bins) front(size uint64) *front {
	return (*front)(unsafe.Add(unsafe.Pointer(&s.fronts), frontOf[(size+15)>>4]))
}

// noBlocks is the word of a bin that has no slab.
var noBlocks mem.Word

// Alloc implements Source. Its short way is one load, one bit scan and one store of the word.
//
//go:nosplit
func (c *Cache) Alloc(size uint64) (unsafe.Pointer, error) {
	if size <= layout.MaxSmall {
		if b := c.shared.front(size); b.free != 0 {
			return b.take(), nil
		}
	}
	return c.allocSlow(size)
}

// take takes the block of the lowest free bit. There must be one.
func (b *front) take() unsafe.Pointer {
	i := bits.TrailingZeros64(b.free)
	b.free &^= 1 << (i & 63)
	b.word.Set(b.word.Peek() &^ (1 << (i & 63)))
	return unsafe.Add(b.first, uint64(i)*b.size)
}

// slot is what Free knows of a granule in a shared slab of the cache. The zero slot is that of no granule.
type slot struct {
	start  uintptr   // of the slab
	local  *mem.Word // first word of its local bitmap
	remote *mem.Word // first word of its remote bitmap
	extent uint32    // bytes that have blocks
	recip  uint32    // layout.Class.Recip
}

// slots finds the slot of a granule by the low bits of its number. Two granules that share a place drive
// each other out, which costs the long way; a cache has at least twice as many places as granules. A slot is
// right as long as it is there, because only the owner of a slab can give it up.
type slots struct {
	table unsafe.Pointer // of places() slots
	mask  uintptr        // of what the address of a slot in the table takes from that of a block
	used  int            // granules entered
}

var noSlot slot

func (t *slots) at(addr uintptr) *slot {
	return (*slot)(unsafe.Add(t.table, addr/(layout.GranuleSize/unsafe.Sizeof(slot{}))&t.mask))
}

func (t *slots) places() int { return int(t.mask/unsafe.Sizeof(slot{})) + 1 }

// Free implements Source. The short way is for blocks of the cache's own shared slabs. What it does is slot.index
// and slot.free, written here so that each comparison is one jump to the long way.
//
//go:nosplit
func (c *Cache) Free(p unsafe.Pointer) error {
	s := c.slots.at(uintptr(p))
	rel := uintptr(p) - s.start
	if product := uint64(rel) * uint64(s.recip); rel < uintptr(s.extent) && uint32(product) < s.recip {
		local, remote := s.words(product >> 32)
		if word, bit := local.Peek(), uint64(1)<<(product>>32&63); (word|remote.Peek())&bit == 0 {
			local.Set(word | bit)
			return nil
		}
	}
	return c.freeSlow(p)
}

// index returns which block of the slab begins at addr, if one does: it is the high half of the distance from the
// slab's start times 2^32/size, and the low half says whether there was a remainder (Lemire, Kaser, Kurz: Faster
// remainder by direct computation, 2019).
func (s *slot) index(addr uintptr) (uint64, bool) {
	rel := addr - s.start
	product := uint64(rel) * uint64(s.recip)
	return product >> 32, rel < uintptr(s.extent) && uint32(product) < s.recip
}

// words returns the words that have the bits of block i.
func (s *slot) words(i uint64) (local, remote *mem.Word) {
	return (*mem.Word)(unsafe.Add(unsafe.Pointer(s.local), i/64*8)), (*mem.Word)(unsafe.Add(unsafe.Pointer(s.remote), i/64*8))
}

func (c *Cache) allocSlow(size uint64) (unsafe.Pointer, error) {
	if size <= layout.MaxSmall && !c.closed { // else nothing is mapped any more that a bin would look at
		b := &c.shared.all[layout.ClassOf(size)]
		if p := b.again(c.a); p != nil {
			return p, nil
		}
		if c.report(b); !b.sampleDue() && b.reload() {
			return c.Alloc(size)
		}
	}
	off, err := c.alloc(size)
	if err != nil {
		return nil, allocError(size, err)
	}
	return c.a.memory.Pointer(off), nil
}

// farSlot is what a cache knows of a granule in a slab of others, from the last time that it freed a block
// there. The slab's state says whether that is still so; whoever may own the slab then, it has the same class.
type farSlot struct {
	slot
	state *mem.Word // of the slab
	want  uint64    // what state must be
}

// farSlots is the number of places for slots of others' granules. Two granules that share one drive each other
// out.
const farSlots = 256

// freeFar is the short way for blocks of slabs of others: one locked instruction sets the block's remote bit. It reports
// whether it did.
func (c *Cache) freeFar(p unsafe.Pointer) bool {
	if c.far == nil {
		return false
	}
	s := &c.far[uintptr(p)>>layout.GranuleShift%farSlots]
	i, ok := s.index(uintptr(p))
	if !ok || s.state.Load() != s.want {
		return false
	}
	local, remote := s.words(i)
	c.assertFar(uint64(uintptr(p)-uintptr(c.a.memory.Pointer(0))), local, remote, uint64(1)<<(i&63))
	if !remote.SetUnless(local, i) {
		return false
	}
	crashpoint.Hit("alloc.free.after-far")
	add(&c.record.Counts.Remote, 1)
	return true
}

// enterFar makes freeFar find the granule of a block in a slab of others.
func (c *Cache) enterFar(b *block, off uint64) {
	if c.far == nil {
		c.far = new([farSlots]farSlot)
	}
	c.far[uintptr(c.a.memory.Pointer(off))>>layout.GranuleShift%farSlots] = farSlot{
		slot: c.a.slotOf(c.a.slab(b.head, b.state)), state: &c.a.states[b.head], want: uint64(b.state),
	}
}

func (c *Cache) freeSlow(p unsafe.Pointer) error {
	if p == nil || c.freeFar(p) {
		return nil
	}
	off, err := c.a.blockOffset(p)
	if err == nil {
		err = c.freeAny(off)
	}
	return freeError(err)
}

// takeBit makes one block used.
func (b *front) takeBit(bit uint64) {
	assertTaken(bit, b.word, b.mask)
	b.free &^= bit
	b.word.StoreRelease(b.word.Peek() &^ bit)
}

// offsetOf returns the offset of the block of bit 0.
func (a *Allocator) offsetOf(b *front) uint64 {
	return uint64(uintptr(b.first) - uintptr(a.memory.Pointer(0)))
}

func (s *slots) init() { s.table, s.mask, s.used = unsafe.Pointer(&noSlot), 0, 0 }

// enterSlab makes Free find the granules of a slab that has become the cache's.
func (c *Cache) enterSlab(s slab) {
	if s.flags != 0 || c.careful != nil {
		return
	}
	n := uint64(layout.Classes[s.class].Granules)
	if c.slots.used += int(n); 2*c.slots.used > c.slots.places() {
		c.slots.grow()
	}
	for g := range n {
		c.enterSlot(s, s.head+g)
	}
}

func (c *Cache) enterSlot(s slab, g uint64) {
	*c.slots.at(uintptr(c.a.memory.Pointer(g << layout.GranuleShift))) = c.a.slotOf(s)
}

func (a *Allocator) slotOf(s slab) slot {
	class := &layout.Classes[s.class]
	return slot{
		start: uintptr(a.memory.Pointer(s.head << layout.GranuleShift)), local: &s.local[0], remote: &s.remote[0],
		extent: class.Size * class.Blocks, recip: class.Recip,
	}
}

// leaveSlab undoes enterSlab, before the cache gives the slab up.
func (c *Cache) leaveSlab(s slab) {
	if s.flags != 0 {
		return
	}
	if c.careful != nil {
		c.careful.forget(s)
		return
	}
	n := uintptr(layout.Classes[s.class].Granules)
	c.slots.used -= int(n)
	start := uintptr(c.a.memory.Pointer(s.head << layout.GranuleShift))
	for g := range n {
		if at := c.slots.at(start + g<<layout.GranuleShift); at.start == start {
			*at = slot{}
		}
	}
}

// grow makes room for four times as many granules as there are.
func (t *slots) grow() {
	old := unsafe.Slice((*slot)(t.table), t.places())
	n := uintptr(1) << bits.Len(uint(max(4*t.used, 64)-1))
	table := make([]slot, n)
	t.table, t.mask = unsafe.Pointer(unsafe.SliceData(table)), (n-1)*unsafe.Sizeof(slot{})
	for _, s := range old {
		for g := uintptr(0); g < uintptr(s.extent); g += layout.GranuleSize {
			*t.at(s.start + g) = s
		}
	}
}
