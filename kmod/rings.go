package kmod

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/shmheap/shmheap/internal/mem"
)

// rings reads a stream in place. The kernel alone can write there; what is read is judged all the same, as a broken
// kernel must not break the program.
//
//	stream header | ring of processor 0: head, dropped, slots | ring of processor 1 | ...
//
// A ring is read as far as its writer had come when its turn began, and then the next one has its turn.
type rings struct {
	memory mem.Memory
	first  uint64 // where the first ring is
	stride uint64 // from ring to ring
	slots  uint64 // from the beginning of a ring to its slots
	slot   uint64 // bytes of a slot
	count  uint64 // of slots in a ring, a power of two
	places []place
	cpu    int      // whose turn it is
	data   []byte   // a copy of the record that is being returned
	words  []uint64 // the same bytes
}

// place is where a reader is in a ring.
type place struct {
	next    uint64 // record
	until   uint64 // where this turn ends
	dropped uint64 // how many of those that were refused have been told
	lost    uint64 // not told yet
}

// newRings begins to read, with the oldest records or with the next ones.
func newRings(m mem.Memory, oldest bool) (*rings, error) {
	r, err := layoutOf(m)
	if err != nil {
		return nil, err
	}
	r.data = make([]byte, r.slot)
	r.words = mem.Slice[uint64](mem.Over(r.data), 0, r.slot/8)
	for cpu := range r.places {
		if p := &r.places[cpu]; !oldest {
			p.next, p.dropped = r.head(cpu).Load(), r.dropped(cpu).Load()
			p.until = p.next
		}
	}
	return r, nil
}

// layoutOf judges the beginning of a stream: all that it says must lie inside of the memory.
func layoutOf(m mem.Memory) (*rings, error) {
	if m.Size() < streamHeaderSize {
		return nil, fmt.Errorf("%w: a stream of %d bytes", ErrCorrupt, m.Size())
	}
	h := *mem.View[streamHeader](m, 0) // nothing in it changes
	bad := h.Magic != streamMagic || h.Version != Version || h.CPUs == 0 ||
		h.Slot < shortestSlot || h.Slot > longestSlot || h.Slot&(h.Slot-1) != 0 || h.Order < 1 || h.Order > mostStreamOrder ||
		h.Rings < streamHeaderSize || h.Slots < ringHeader || (h.Rings|h.Stride|h.Slots)%8 != 0
	if bad || h.Rings > m.Size() || h.Stride == 0 || h.Stride > m.Size() || h.Slots > h.Stride ||
		uint64(h.Slot)<<h.Order > h.Stride-h.Slots || uint64(h.CPUs) > (m.Size()-h.Rings)/h.Stride {
		return nil, fmt.Errorf("%w: a stream of %d bytes that begins with %+v", ErrCorrupt, m.Size(), h)
	}
	return &rings{
		memory: m, first: h.Rings, stride: h.Stride, slots: h.Slots, slot: uint64(h.Slot), count: 1 << h.Order,
		places: make([]place, h.CPUs),
	}, nil
}

func (r *rings) head(cpu int) *mem.Word    { return r.memory.Word(r.first + uint64(cpu)*r.stride) }
func (r *rings) dropped(cpu int) *mem.Word { return r.memory.Word(r.first + uint64(cpu)*r.stride + 8) }

// slotOf returns where record n of a ring is, or was, or will be.
func (r *rings) slotOf(cpu int, n uint64) uint64 {
	return r.first + uint64(cpu)*r.stride + r.slots + n&(r.count-1)*r.slot
}

// next returns the next record or loss, and false when there is none. Its data are valid until the next call.
func (r *rings) next() (rec Record, found bool, err error) {
	for range len(r.places) + 1 {
		if rec, found, err = r.give(); found || err != nil {
			return rec, found, err
		}
		r.cpu = (r.cpu + 1) % len(r.places)
		if err := r.turn(); err != nil {
			return Record{}, false, err
		}
	}
	return Record{}, false, nil
}

// turn looks how far the writer has come.
func (r *rings) turn() error {
	p := &r.places[r.cpu]
	head, dropped := r.head(r.cpu).Load(), r.dropped(r.cpu).Load()
	if head < p.next || dropped < p.dropped {
		return fmt.Errorf("%w: processor %d wrote %d records and refused %d, after %d and %d", ErrCorrupt, r.cpu, head, dropped, p.next, p.dropped)
	}
	p.lost += dropped - p.dropped
	p.dropped, p.until = dropped, head
	if head-p.next > r.count {
		r.catchUp(p, head)
	}
	return nil
}

// catchUp leaves what has been overwritten, and half a ring besides, behind.
func (r *rings) catchUp(p *place, head uint64) {
	if to := head - min(head, r.count/2); to > p.next {
		p.lost += to - p.next
		p.next = to
	}
	p.until = head
}

// give returns what is next in the ring whose turn it is.
func (r *rings) give() (rec Record, found bool, err error) {
	p := &r.places[r.cpu]
	if p.lost == 0 && p.next != p.until {
		switch r.copy(r.cpu, p.next) {
		case recordWhole:
			p.next++
			rec, err = r.parse(p.next - 1)
			return rec, err == nil, err
		case recordGone:
			// The writer's head may be seen later than that it has begun to overwrite: then there is nothing yet.
			r.catchUp(p, max(r.head(r.cpu).Load(), p.until))
		case recordUnfinished:
		}
		if p.lost == 0 {
			p.until = p.next // its turn is over
		}
	}
	if p.lost == 0 {
		return Record{}, false, nil
	}
	rec = Record{Lost: p.lost, CPU: r.cpu}
	p.lost = 0
	return rec, true, nil
}

// What there is of a record.
const (
	recordUnfinished = iota // it is being written
	recordWhole             // it was copied
	recordGone              // it is overwritten
)

// copy copies record n out of its slot. Each word is loaded with acquire, so the second look at the sequence comes behind
// the words: it pairs with the write barrier behind the kernel's zero, as the first one pairs with its release.
func (r *rings) copy(cpu int, n uint64) int {
	at := r.slotOf(cpu, n)
	seq := r.memory.Word(at)
	switch got := seq.Load(); {
	case got > n+1:
		return recordGone
	case got != n+1:
		return recordUnfinished
	}
	kind := r.memory.Word(at + 16).Load() // bytes, type and processor
	end := min(recordHeader+(kind&0xffff+7)&^7, r.slot)
	r.words[1], r.words[2] = r.memory.Word(at+8).Load(), kind
	for off := uint64(recordHeader); off < end; off += 8 {
		r.words[off/8] = r.memory.Word(at + off).Load()
	}
	if seq.Load() != n+1 {
		return recordGone
	}
	return recordWhole
}

// parse judges the copy of a record.
func (r *rings) parse(n uint64) (Record, error) {
	bytes := int(binary.NativeEndian.Uint16(r.data[16:]))
	rec := Record{
		Seq: n, Time: time.Duration(binary.NativeEndian.Uint64(r.data[8:])), Type: binary.NativeEndian.Uint16(r.data[18:]),
		CPU: int(binary.NativeEndian.Uint32(r.data[20:])),
	}
	if bytes > len(r.data)-recordHeader || rec.CPU != r.cpu {
		return Record{}, fmt.Errorf("%w: record %d of processor %d has %d bytes and is of processor %d", ErrCorrupt, n, r.cpu, bytes, rec.CPU)
	}
	rec.Data = r.data[recordHeader : recordHeader+bytes : recordHeader+bytes]
	return rec, nil
}

// seen puts where the reader is into b, of 16 bytes for each ring, as the kernel wants to be told. It reports whether that is
// news. What is lost counts as seen: it is in the reader's own account.
func (r *rings) seen(b []byte) (news bool) {
	for cpu := range r.places {
		p := &r.places[cpu]
		at := b[ringHeader*cpu : ringHeader*(cpu+1)]
		news = news || binary.NativeEndian.Uint64(at) != p.next || binary.NativeEndian.Uint64(at[8:]) != p.dropped
		binary.NativeEndian.PutUint64(at, p.next)
		binary.NativeEndian.PutUint64(at[8:], p.dropped)
	}
	return news
}
