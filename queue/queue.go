package queue

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// region is what a queue needs of a heap. Tests run it over Go memory, where the race detector sees
// every access.
type region interface {
	Memory() mem.Memory
	Geometry() layout.Geometry
	Peer() heap.PeerID
	Alive(heap.PeerID) (bool, error)
}

// mayWrite returns heap.ErrReadOnly when the heap is open for reading alone: then there is no peer.
func mayWrite(r region) error {
	if r.Peer() == 0 {
		return heap.ErrReadOnly
	}
	return nil
}

// Options say what a new queue is like. The zero value is valid: an MPMC queue of 1024 elements.
type Options struct {
	Kind Kind // 0 means MPMC
	// Capacity is the number of elements that fit, rounded up to a power of two from 2 to 1<<24.
	// 0 means 1024.
	Capacity int
	// Handles is how many producers and consumers there may be at once, up to 1024. 0 means 62.
	Handles int
	// Hands makes elements that were in the hands of the dead be delivered again: see Hands.
	Hands *Hands
}

// Queue is an open queue. Its methods may be called by any number of goroutines; elements go through the
// handles that Producer and Consumer return. It is a view: nothing has to be closed but the handles, and
// the queue lives in the heap until Delete.
type Queue struct {
	region region
	off    uint64
	head   *Header
	order  uint
	slots  []mem.Word
	table  []mem.Word // of handles
	kind   Kind
	first  uint64 // elements are offsets in [first, first+span)
	span   uint64
	hands  *Hands
}

// geometryOf checks options and returns the header that they ask for.
func (o *Options) header() (Header, error) {
	var v Options
	if o != nil {
		v = *o
	}
	if v.Kind == 0 {
		v.Kind = MPMC
	}
	if v.Capacity == 0 {
		v.Capacity = 1024
	}
	if v.Handles == 0 {
		v.Handles = 62
	}
	if v.Kind > MPMC || v.Capacity < 1 || v.Capacity > 1<<MaxOrder || v.Handles < 2 || v.Handles > MaxHandles {
		return Header{}, fmt.Errorf("%w: %+v", ErrOptions, v)
	}
	order := max(bits.Len(uint(v.Capacity-1)), MinOrder)
	h := Header{
		Magic: Magic, Version: Version, Kind: uint32(v.Kind), Order: uint32(order), Handles: uint32(v.Handles),
		Table: HeaderSize, Slots: slotsAt(uint32(v.Handles)), Record: 8,
	}
	h.Size = h.Slots + 8<<order
	if v.Hands != nil {
		h.Hands = v.Hands.off
	}
	return h, nil
}

// write makes a queue at off, where h.Size bytes are the caller's and zero.
func (h *Header) write(m mem.Memory, off uint64) {
	*mem.View[Header](m, off) = *h
	mem.View[Header](m, off).Ready.StoreRelease(ReadyValue)
}

// geometry is this process's own copy of the first line of a header.
type geometry struct {
	magic                            uint64
	version                          uint32
	kind                             Kind
	order, handles                   uint32
	table, slots, size, hands, bytes uint64
}

// headerAt reads and validates the header at off. Any bytes there are answered with a geometry that is
// safe to use, or with an error.
func headerAt(r region, off uint64) (*Header, geometry, error) {
	m, g := r.Memory(), r.Geometry()
	if off%lineSize != 0 || off < g.Sections.Data || !m.Contains(off, HeaderSize) || off+HeaderSize > g.Size {
		return nil, geometry{}, fmt.Errorf("queue at %#x: %w", off, ErrOffset)
	}
	head := mem.View[Header](m, off)
	if head.Ready.Load() != ReadyValue {
		return nil, geometry{}, fmt.Errorf("queue at %#x: %w: ready word is %#x", off, ErrCorrupt, head.Ready.Load())
	}
	h := geometry{
		magic: head.Magic, version: head.Version, kind: Kind(head.Kind), order: head.Order, handles: head.Handles,
		table: head.Table, slots: head.Slots, size: head.Size, hands: head.Hands, bytes: head.Record,
	}
	if err := h.check(m, off); err != nil {
		return nil, geometry{}, fmt.Errorf("queue at %#x: %w", off, err)
	}
	return head, h, nil
}

func (g *geometry) check(m mem.Memory, off uint64) error {
	switch {
	case g.magic != Magic:
		return fmt.Errorf("%w: magic is %#x", ErrCorrupt, g.magic)
	case g.version != Version:
		return fmt.Errorf("%w: version %d, this program reads %d", heap.ErrVersion, g.version, Version)
	case g.kind < SPSC || g.kind > broadcastKind || g.order < MinOrder || g.order > MaxOrder,
		g.handles < 2 || g.handles > MaxHandles:
		return fmt.Errorf("%w: kind %d, order %d, %d handles", ErrCorrupt, g.kind, g.order, g.handles)
	case g.bytes%8 != 0 || g.bytes == 0 || g.bytes > maxRecord || g.kind != broadcastKind && g.bytes != 8:
		return fmt.Errorf("%w: slots of %d bytes", ErrCorrupt, g.bytes)
	case g.table != HeaderSize || g.slots != slotsAt(g.handles) || g.size != g.slots+g.bytes<<g.order || !m.Contains(off, g.size):
		return fmt.Errorf("%w: table at %d, slots at %d, %d bytes", ErrCorrupt, g.table, g.slots, g.size)
	}
	return nil
}

// view returns the queue at off.
func view(r region, off uint64) (*Queue, error) {
	q, err := viewAny(r, off)
	if err == nil && q.kind == broadcastKind {
		err = fmt.Errorf("queue at %#x: %w: a broadcast ring", off, ErrKind)
	}
	if err != nil {
		return nil, err
	}
	return q, nil
}

func viewAny(r region, off uint64) (*Queue, error) {
	head, h, err := headerAt(r, off)
	if err != nil {
		return nil, err
	}
	m, g := r.Memory(), r.Geometry()
	q := &Queue{
		region: r, off: off, head: head, order: uint(h.order), kind: h.kind,
		slots: mem.Slice[mem.Word](m, off+h.slots, h.bytes/8<<h.order),
		table: mem.Slice[mem.Word](m, off+h.table, uint64(h.handles)),
		first: g.Sections.Data, span: g.Size - g.Sections.Data,
	}
	if h.hands != 0 {
		if q.hands, err = viewHands(r, h.hands); err != nil {
			return nil, fmt.Errorf("queue at %#x: %w", off, err)
		}
	}
	return q, nil
}

// New makes a queue in a block of the heap. Its Offset leads to it: store it where others find it, or use
// Open, which does so under a name. It returns ErrOptions and the errors of alloc.Alloc. A process
// killed before the offset is stored leaks the block.
func New(a *alloc.Allocator, o *Options) (*Queue, error) {
	h, err := o.header()
	if err != nil {
		return nil, err
	}
	off, err := zeroedBlock(a, h.Size)
	if err != nil {
		return nil, fmt.Errorf("new queue: %w", err)
	}
	h.write(a.Heap().Memory(), off)
	return At(a, off)
}

// At returns the queue at that offset, which New's Offset has told. It returns ErrOffset, ErrCorrupt or
// heap.ErrVersion when there is none.
func At(a *alloc.Allocator, offset uint64) (*Queue, error) { return view(a.Heap(), offset) }

// rootType is the fingerprint of roots that lead to a queue.
const rootType heap.Fingerprint = 0x51554555455f7631

// Open returns the queue of that name, a root of the heap. If there is none and o is not nil, it makes
// one; of several processes that do so at once one succeeds and the others get that one's. It returns
// heap.ErrNoRoot, ErrKind when o asks for another kind or capacity, and the errors of New, At and
// heap.LoadOrStoreRoot.
func Open(a *alloc.Allocator, name string, o *Options) (*Queue, error) {
	r, err := a.Heap().LoadRoot(name)
	if errors.Is(err, heap.ErrNoRoot) && o != nil {
		return create(a, name, o)
	}
	if err != nil {
		return nil, fmt.Errorf("open queue: %w", err)
	}
	return openRoot(a, r, o)
}

func create(a *alloc.Allocator, name string, o *Options) (*Queue, error) {
	q, err := New(a, o)
	if err != nil {
		return nil, err
	}
	r, loaded, err := a.Heap().LoadOrStoreRoot(heap.Root{Name: name, Offset: q.off, Type: rootType, TypeName: "queue"})
	if err == nil && !loaded {
		return q, nil
	}
	if err = errors.Join(err, freeBlock(a, q.off)); err != nil {
		return nil, fmt.Errorf("open queue: %w", err)
	}
	return openRoot(a, r, o)
}

func openRoot(a *alloc.Allocator, r heap.Root, o *Options) (*Queue, error) {
	if r.Type != rootType {
		return nil, fmt.Errorf("open queue: %w: %q is a %s", heap.ErrRootType, r.Name, r.TypeName)
	}
	q, err := At(a, r.Offset)
	if err != nil || o == nil {
		return q, err
	}
	h, err := o.header()
	if err == nil && (Kind(h.Kind) != q.kind || h.Order != uint32(q.order)) {
		err = fmt.Errorf("open queue %q: %w: kind %d with %d slots", r.Name, ErrKind, q.kind, len(q.slots))
	}
	if err != nil {
		return nil, err
	}
	return q, nil
}

// Delete frees the queue of that name. What it holds is not freed, but what dead hands had received from it is, as
// nobody will receive it again. It returns ErrInUse as long as a live process has a handle on it, heap.ErrNoRoot, and the
// errors of Hands.Recover. Killed in between, the block of the queue may leak. It looks first and frees then: that nobody
// attaches to the queue, or deletes or makes one of that name, meanwhile is the callers' to see to.
func Delete(a *alloc.Allocator, name string) error {
	q, err := Open(a, name, nil)
	if err != nil {
		return err
	}
	for i := range q.table {
		if alive, err := handleAlive(q.region, q.table[i].Load()); err != nil || alive {
			return errors.Join(err, fmt.Errorf("delete queue %q: %w", name, ErrInUse))
		}
	}
	if q.hands != nil {
		q.hands.blocks = source{a, a}
		err = q.hands.forget(q.off)
	}
	if err == nil {
		err = a.Heap().DeleteRoot(name)
	}
	if err != nil {
		return fmt.Errorf("delete queue: %w", err)
	}
	return freeBlock(a, q.off)
}

// Offset returns the distance of the queue from the base of the heap.
func (q *Queue) Offset() uint64 { return q.off }

// Kind returns how many may push and pop.
func (q *Queue) Kind() Kind { return q.kind }

// Cap returns how many elements fit.
func (q *Queue) Cap() int { return len(q.slots) }

// Len returns about how many elements are in the queue. It follows two hints that lag behind by up to
// eight elements for each handle.
func (q *Queue) Len() int {
	n := (q.head.Tail.Load() - q.head.Head.Load()) & q.positionMask()
	if n > q.positionMask()/2 { // the head's hint is ahead of the tail's
		return 0
	}
	return int(min(n, uint64(len(q.slots))))
}
