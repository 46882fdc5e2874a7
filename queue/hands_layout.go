package queue

import (
	"structs"

	"github.com/shmheap/shmheap/internal/mem"
)

// HandsMagic and the sizes below are part of the format.
const (
	HandsMagic = 0x53444e41_484d4853 // "SHMHANDS" as stored
	RecordSize = 256
	MaxHands   = 255
)

// HandsHeader is the beginning of a table of hands; record 1 follows it, and so on. There is no record 0.
type HandsHeader struct {
	_ structs.HostLayout

	Magic   uint64 // HandsMagic
	Version uint32 // the constant of that name
	Count   uint32 // records
	_       [104]byte
	Ready   mem.Word // stored last, with release order

	// Recoverer is who recovers what dead hands held, an owner word like a record's, or 0. Taken from 0 or
	// from a dead peer by CompareAndSwap.
	Recoverer mem.Word
	_         [56]byte
	// Orphans is not 0 when a record may be an orphan's. Set before a record becomes one, cleared by
	// the recoverer before it looks for more: a hint on the safe side.
	Orphans mem.Word
	_       [56]byte
}

// Record is one hand. All but Verdict is written by the hand's process, and by the recoverer when that
// has died.
type Record struct {
	_ structs.HostLayout

	Owner    mem.Word // 0 free; else handState..., peer slot and generation
	Held     mem.Word // address of the block in the hand, 0 for none
	Intent   mem.Word // what the hand is doing to Held: a kind, and above it a number that never repeats
	Queue    mem.Word // offset of the queue of the intent
	Position mem.Word // position of the intent, with its kind in the high bits
	Origin   mem.Word // offset of the queue that Held was popped from; 0 when it was made here
	_        [80]byte

	// Verdict is the Intent of which somebody has found that it succeeded, before he overwrote the
	// slot that shows it. Written with release order by whoever overwrites the slot.
	Verdict mem.Word
	_       [120]byte
}

// States of a record, in the low bits of Owner above which are slot and generation of a peer, as in a
// handle.
const (
	handTaken  = 1
	handOrphan = 2 // holds a block that a dead consumer had popped; the peer is the dead one
)

// Kinds of an Intent, in its low bits.
const (
	intentNone  = 0
	intentPush  = 1 // the position's slot becomes full and names this hand: Held is the queue's
	intentPop   = 2 // the position's slot becomes empty and names this hand: Held is the hand's
	intentAdopt = 3 // Held comes from the orphan whose number is the position
	intentStore = 4 // Held goes to the word at the offset in Queue
	intentMask  = 7
	intentStep  = 8

	positionKindShift = 60
)
