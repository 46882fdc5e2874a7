package queue

import (
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/mem"
)

// blocks is what hands need of an allocator: exact operations on the word at an offset.
type blocks interface {
	allocInto(word, size uint64) error
	freeFrom(word uint64) error
	recover() error
}

// Hands is a table of hands in the heap, through which survivors learn what a dead process was moving.
// Queues that belong together share one, so that a hand can pop from the one and push to the other. Its
// methods may be called by any number of goroutines.
type Hands struct {
	region  region
	blocks  blocks
	off     uint64
	head    *HandsHeader
	records []Record // from 1 on
}

// handsType is the fingerprint of roots that lead to a table of hands.
const handsType heap.Fingerprint = 0x48414e44535f7631

// OpenHands returns the table of hands of that name, a root of the heap, and makes one with room for
// count hands if there is none; 0 means 63. It returns ErrOptions for more than 255, and the errors of
// Open. Killed while it makes one, the block may leak.
func OpenHands(a *alloc.Allocator, name string, count int) (*Hands, error) {
	r, err := a.Heap().LoadRoot(name)
	if errors.Is(err, heap.ErrNoRoot) {
		if r, err = createHands(a, name, count); err != nil {
			return nil, fmt.Errorf("open hands: %w", err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open hands: %w", err)
	}
	if r.Type != handsType {
		return nil, fmt.Errorf("open hands: %w: %q is a %s", heap.ErrRootType, name, r.TypeName)
	}
	h, err := viewHands(a.Heap(), r.Offset)
	if err != nil {
		return nil, err
	}
	h.blocks = source{a, a}
	return h, nil
}

func createHands(a *alloc.Allocator, name string, count int) (heap.Root, error) {
	if count == 0 {
		count = 63
	}
	if count < 1 || count > MaxHands {
		return heap.Root{}, fmt.Errorf("%w: %d hands", ErrOptions, count)
	}
	off, err := zeroedBlock(a, handsSize(count))
	if err != nil {
		return heap.Root{}, err
	}
	writeHands(a.Heap().Memory(), off, count)
	r, loaded, err := a.Heap().LoadOrStoreRoot(heap.Root{Name: name, Offset: off, Type: handsType, TypeName: "hands"})
	if err != nil || loaded {
		err = errors.Join(err, freeBlock(a, off))
	}
	return r, err
}

func handsSize(count int) uint64 { return uint64(count+1) * RecordSize }

func writeHands(m mem.Memory, off uint64, count int) {
	h := mem.View[HandsHeader](m, off)
	h.Magic, h.Version, h.Count = HandsMagic, Version, uint32(count)
	h.Ready.StoreRelease(ReadyValue)
}

// viewHands validates the table at off. Any bytes there are answered with a table that is safe to use,
// or with an error.
func viewHands(r region, off uint64) (*Hands, error) {
	m, g := r.Memory(), r.Geometry()
	if off%lineSize != 0 || off < g.Sections.Data || !m.Contains(off, RecordSize) {
		return nil, fmt.Errorf("hands at %#x: %w", off, ErrOffset)
	}
	head := mem.View[HandsHeader](m, off)
	magic, version, count := head.Magic, head.Version, head.Count
	if head.Ready.Load() != ReadyValue || magic != HandsMagic || version != Version ||
		count < 1 || count > MaxHands || !m.Contains(off, handsSize(int(count))) {
		return nil, fmt.Errorf("hands at %#x: %w: magic %#x, version %d, %d records", off, ErrCorrupt, magic, version, count)
	}
	return &Hands{region: r, off: off, head: head, records: mem.Slice[Record](m, off, uint64(count)+1)}, nil
}

// record returns the record of a number that a slot names, nil for one that there is not.
func (h *Hands) record(id int) *Record {
	if h == nil || id < 1 || id >= len(h.records) {
		return nil
	}
	return &h.records[id]
}

// Hand returns a hand of this process. It recovers what the dead held when all are taken. It returns
// ErrTooMany, and Recover's errors: heap.ErrBusy says that another process is making room just now. The owner of the table must stay open as long as the hand is used.
func (h *Hands) Hand() (*Hand, error) {
	hand, err := h.takeRecord()
	if errors.Is(err, ErrTooMany) {
		if _, err := h.Recover(); err != nil {
			return nil, fmt.Errorf("hand: %w", err)
		}
		hand, err = h.takeRecord()
	}
	if err != nil {
		return nil, fmt.Errorf("hand: %w", err)
	}
	return hand, nil
}

func (h *Hands) takeRecord() (*Hand, error) {
	if err := mayWrite(h.region); err != nil {
		return nil, err
	}
	own := handOwner(handTaken, h.region.Peer())
	for id := 1; id < len(h.records); id++ {
		r := &h.records[id]
		if r.Owner.Load() == 0 && r.Owner.CompareAndSwap(0, own) {
			crashpoint.Hit("queue.hand.after-take")
			r.Held.StoreRelease(0) // it is, but for damage
			r.Verdict.StoreRelease(r.Intent.Load())
			hand := &Hand{hands: h, blocks: h.blocks, id: id, record: r, intent: r.Intent.Load() &^ intentMask}
			var err error
			if hand.tie, err = newTie(h.region, hand.detach); err != nil {
				return nil, err
			}
			return hand, nil
		}
	}
	return nil, fmt.Errorf("%w: all %d hands are taken", ErrTooMany, len(h.records)-1)
}

func handOwner(state uint64, p heap.PeerID) uint64 {
	return state | uint64(p.Slot())<<handleSlotShift | uint64(p.Generation())<<handleGenShift
}
