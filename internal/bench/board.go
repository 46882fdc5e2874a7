package bench

import (
	"github.com/shmheap/shmheap/internal/mem"
)

// board is the block through which the workers of one run meet. Its words:
//
//	   0 ready     workers that are set up
//	 128 stopped   workers that hand nothing over any more
//	 256 handed    one word a worker, of scratch
//	1024 slots     1024 words, of mstress
//	9216 rings     one a worker, from the worker before it
//	     chunks    two a worker, of larson
type board struct {
	memory         mem.Memory
	off            uint64
	workers        uint64
	ready, stopped *mem.Word
	handed, slots  []mem.Word
}

const (
	maxWorkers = 96
	slotCount  = 1024
	ringCount  = 4096
	chunkCount = 1000

	handedAt  = 256
	slotsAt   = 1024
	ringsAt   = slotsAt + slotCount*8
	ringTail  = 128
	ringSlots = 256
	ringSize  = ringSlots + ringCount*8
	chunkSize = chunkCount * 8
)

// boardSize is the size of a board for so many workers.
func boardSize(workers uint64) uint64 { return ringsAt + workers*(ringSize+2*chunkSize) }

// newBoard views the board at off, which must be a multiple of 128.
func newBoard(m mem.Memory, off, workers uint64) *board {
	return &board{
		memory: m, off: off, workers: workers,
		ready: m.Word(off), stopped: m.Word(off + 128),
		handed: mem.Slice[mem.Word](m, off+handedAt, maxWorkers),
		slots:  mem.Slice[mem.Word](m, off+slotsAt, slotCount),
	}
}

// chunk returns a table of larson's blocks.
func (b *board) chunk(i uint64) []mem.Word {
	at := b.off + ringsAt + b.workers*ringSize + i*chunkSize
	return mem.Slice[mem.Word](b.memory, at, chunkCount)
}

// ring returns a view of worker i's ring. Worker i takes from it and the one before it puts.
func (b *board) ring(i uint64) *ring {
	at := b.off + ringsAt + i%b.workers*ringSize
	return &ring{
		head: b.memory.Word(at), tail: b.memory.Word(at + ringTail),
		slots: mem.Slice[mem.Word](b.memory, at+ringSlots, ringCount),
	}
}

// ring passes words from one process to one other. Either end keeps what it last saw of the other's
// index and looks again only when it must.
type ring struct {
	head, tail         *mem.Word // next to take, written by the taker; next to put, written by the putter
	slots              []mem.Word
	seenHead, seenTail uint64
	taken, put         uint64 // this end's own index
}

// tryPut puts a word, which the release store of tail publishes, unless the ring is full.
func (r *ring) tryPut(v uint64) bool {
	if r.put-r.seenHead >= ringCount {
		if r.seenHead = r.head.Load(); r.put-r.seenHead >= ringCount {
			return false
		}
	}
	r.slots[r.put&(ringCount-1)].Set(v)
	r.put++
	r.tail.StoreRelease(r.put)
	return true
}

// tryTake takes a word, unless the ring is empty.
func (r *ring) tryTake() (uint64, bool) {
	if r.taken == r.seenTail {
		if r.seenTail = r.tail.Load(); r.taken == r.seenTail {
			return 0, false
		}
	}
	v := r.slots[r.taken&(ringCount-1)].Peek()
	r.taken++
	r.head.StoreRelease(r.taken)
	return v, true
}
