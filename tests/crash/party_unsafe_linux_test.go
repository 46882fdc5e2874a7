//go:build (amd64 || arm64) && !crashpoint && !shmheap_portable

package crash

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"structs"
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/queue"
)

// ledger is the root of a scene: each block but itself is reachable from one of its slots.
type ledger struct {
	_ structs.HostLayout

	slots [slotCount]entry
}

// entry is one block and what it is filled with; a stamp of 0 says that it is not.
type entry struct {
	_ structs.HostLayout

	block unsafe.Pointer
	stamp uint64
}

// The slots of a ledger: that of the operation, then those of the process that makes it, then its host's.
const (
	slotCount = 500
	subject   = 0
	mine      = 1
	hosts     = 300
)

// party is a process that takes part in a scene.
type party struct {
	size   uint64 // of the blocks that the operation is about
	path   string
	heap   *heap.Heap
	alloc  *alloc.Allocator
	cache  *alloc.Cache
	other  *alloc.Cache // a second one, for what happens between caches
	ledger *ledger
	kept   *unsafe.Pointer // a block that the ledger does not lead to
	arena  *alloc.Arena
	parts  []taken     // blocks of the arena
	hand   *queue.Hand // of an operation on a queue
	port   *queue.Port
	locks  *locks // of an operation on a lock

	writer  *queue.Writer // of an operation on a broadcast ring
	written uint64        // records

	out   *queue.Producer // of an operation on a queue of bare elements
	in    *queue.Consumer
	batch [streamBatch]uint64

	random *rand.Rand
}

func newParty(path string, op *operation, seed uint64) *party {
	return &party{path: path, size: op.size, kept: new(unsafe.Pointer), random: rand.New(rand.NewPCG(seed, 1))}
}

// open attaches to a scene.
func (p *party) open() (err error) {
	if p.heap, err = heap.Open(p.path, nil); err != nil {
		return err
	}
	return p.openAllocator()
}

func (p *party) openAllocator() (err error) {
	if p.alloc, err = alloc.Open(p.heap); err != nil {
		return err
	}
	p.ledger, err = alloc.LoadRoot[ledger](p.alloc, "ledger")
	return err
}

func (p *party) openCaches() (err error) {
	if p.cache, err = p.alloc.NewCache(); err != nil {
		return err
	}
	p.other, err = p.alloc.NewCache()
	return err
}

// put allocates the block of a slot and fills it.
func (p *party) put(from alloc.Source, slot int) error { return p.putSize(from, slot, p.size) }

func (p *party) putSize(from alloc.Source, slot int, size uint64) error {
	s := &p.ledger.slots[slot]
	if err := from.AllocInto(&s.block, size); err != nil {
		return err
	}
	stamp := makeStamp(p.random, size)
	fill(s.block, stamp)
	s.stamp = stamp
	return nil
}

// drop frees the block of a slot.
func (p *party) drop(by alloc.Source, slot int) error {
	p.ledger.slots[slot].stamp = 0
	return by.FreeFrom(&p.ledger.slots[slot].block)
}

// step is one part of a scene.
type step func(*party) error

// steps makes one of several.
func steps(all ...step) step {
	return func(p *party) error {
		for i, s := range all {
			if err := s(p); err != nil {
				return fmt.Errorf("step %d: %w", i, err)
			}
		}
		return nil
	}
}

// puts fills n slots from the process's cache, putsOther from its other one, drops empties n slots by the
// cache and dropsOther by the other.
func puts(first, n int) step {
	return each(first, n, func(p *party, i int) error { return p.put(p.cache, i) })
}

func putsOther(first, n int) step {
	return each(first, n, func(p *party, i int) error { return p.put(p.other, i) })
}

func drops(first, n int) step {
	return each(first, n, func(p *party, i int) error { return p.drop(p.cache, i) })
}

func dropsOther(first, n int) step {
	return each(first, n, func(p *party, i int) error { return p.drop(p.other, i) })
}

func each(first, n int, do func(*party, int) error) step {
	return func(p *party) error {
		for i := first; i < first+n; i++ {
			if err := do(p, i); err != nil {
				return fmt.Errorf("slot %d: %w", i, err)
			}
		}
		return nil
	}
}

// sized makes a step with blocks of another size.
func sized(size uint64, s step) step {
	return func(p *party) error {
		before := p.size
		defer func() { p.size = before }()
		p.size = size
		return s(p)
	}
}

// closesOther gives up what the other cache has: it is nobody's then.
func closesOther(p *party) error {
	err := p.other.Close()
	if err == nil {
		p.other, err = p.alloc.NewCache()
	}
	return err
}

// fails wants an error of a step.
func fails(want error, s step) step {
	return func(p *party) error {
		if err := s(p); !errors.Is(err, want) {
			return fmt.Errorf("%v, want %v", err, want)
		}
		return nil
	}
}

// fillUp takes all granules of the heap, in large blocks of decreasing size.
func fillUp(p *party) error {
	slot := hosts
	for size := uint64(1 << 20); size > 32<<10; size /= 2 {
		for {
			err := p.putSize(p.cache, slot, size)
			if errors.Is(err, alloc.ErrNoSpace) {
				break
			}
			if err != nil {
				return err
			}
			slot++
		}
	}
	return nil
}

// blocks verifies what the ledger leads to and returns where it is, and how many blocks and arenas that are.
func (p *party) blocks() (found []extent, count int, err error) {
	self := uintptr(unsafe.Pointer(p.ledger))
	found = append(found, extent{self, self + unsafe.Sizeof(*p.ledger)})
	arenas := make(map[unsafe.Pointer]bool)
	for i := range p.ledger.slots {
		s := &p.ledger.slots[i]
		if s.block == nil {
			continue
		}
		size, err := p.alloc.UsableSize(s.block)
		if errors.Is(err, alloc.ErrInArena) {
			size, err = p.partOf(arenas, s)
			count--
		}
		if err == nil && s.stamp != 0 {
			err = verify(s.block, s.stamp)
		}
		if err != nil {
			return nil, 0, fmt.Errorf("slot %d: %w", i, err)
		}
		found = append(found, extent{uintptr(s.block), uintptr(s.block) + uintptr(size)})
	}
	return found, count + len(found) + len(arenas), nil
}

// partOf notes the published arena that an entry leads into and returns how many bytes the entry speaks for.
func (p *party) partOf(arenas map[unsafe.Pointer]bool, s *entry) (uint64, error) {
	r, err := alloc.OpenArena(p.cache, s.block)
	if err != nil {
		return 0, err
	}
	size, err := r.Size()
	if err == nil && size.Used < stampSize(s.stamp) {
		err = fmt.Errorf("an arena of %+v has a block of %d bytes", size, stampSize(s.stamp))
	}
	arenas[r.Address()] = true
	return stampSize(s.stamp), err
}

// taken is a block that is reachable from this process alone.
type taken struct {
	block unsafe.Pointer
	stamp uint64
}

// takeAll allocates blocks of a size until there are no more.
func (p *party) takeAll(size uint64) (all []taken, err error) {
	for {
		b, err := p.cache.Alloc(size)
		if errors.Is(err, alloc.ErrNoSpace) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		x := taken{b, makeStamp(p.random, size)}
		fill(b, x.stamp)
		all = append(all, x)
	}
}

// exhaust takes all that is left and wants each block to be nobody else's, then gives it back.
func (p *party) exhaust(reachable []extent) error {
	all, err := p.takeAll(p.size)
	if err != nil {
		return fmt.Errorf("take all blocks of %d bytes: %w", p.size, err)
	}
	for _, x := range all {
		reachable = append(reachable, extent{uintptr(x.block), uintptr(x.block) + uintptr(p.size)})
	}
	if err := apart(reachable); err != nil {
		return err
	}
	if _, _, err := p.blocks(); err != nil {
		return fmt.Errorf("after all was taken: %w", err)
	}
	for _, x := range all {
		if err := verify(x.block, x.stamp); err != nil {
			return err
		}
		if err := p.cache.Free(x.block); err != nil {
			return err
		}
	}
	return nil
}
