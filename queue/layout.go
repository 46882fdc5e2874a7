package queue

import (
	"structs"

	"github.com/shmheap/shmheap/internal/mem"
)

// Magic, Version and the sizes below are part of the format: doc/format.md has it byte for byte, and
// kmod/uapi/shmheap.h the same for C.
const (
	Magic      = 0x45554555_514d4853 // "SHMQUEUE" as stored
	Version    = 1
	ReadyValue = 0x1d5ead1e_4ea90002

	HeaderSize = 1024
	lineSize   = 128 // words of different writers are this far apart

	MinOrder, MaxOrder = 1, 24
	MaxHandles         = 1024
)

// Kind says how many may push and pop at once.
type Kind uint32

// Kinds of a queue.
const (
	SPSC Kind = 1 // one producer, one consumer
	MPSC Kind = 2 // many producers, one consumer
	MPMC Kind = 3 // many of both

	broadcastKind Kind = 4 // one writer, any number of readers: see Broadcast
)

// Header is the beginning of a queue. Its first line is written by the creator before Ready and never
// again; everybody keeps a private copy of it.
type Header struct {
	_ structs.HostLayout

	Magic   uint64 // the constant of that name
	Version uint32 // the constant of that name
	Kind    uint32 // SPSC, MPSC or MPMC
	Order   uint32 // the queue has 1<<Order slots
	Handles uint32 // entries of the table of handles
	Table   uint64 // offset of the table of handles from the header: HeaderSize
	Slots   uint64 // offset of the slots from the header, a multiple of 128
	Size    uint64 // bytes of the whole queue
	Hands   uint64 // offset from the base of the heap of the table of hands, 0 for none
	Record  uint64 // bytes of a slot: 8, more in a broadcast ring
	_       [56]byte
	// Ready is stored last, with release order.
	Ready mem.Word

	// State has the bits State...; they are set by anyone and never cleared. Read by every operation,
	// so it has a line of its own that hardly ever changes.
	State mem.Word
	_     [120]byte

	// Tail and Head are hints: positions that a producer or consumer has passed. Stored by producers
	// and consumers, with release order and without care; read by those that lost their place.
	Tail mem.Word // of the pushes
	_    [120]byte
	Head mem.Word // of the pops
	_    [120]byte

	Pops   Bell // consumers sleep here until something is pushed
	_      [112]byte
	Pushes Bell // producers sleep here until something is popped
	_      [112]byte

	// Dropped counts elements that were no offsets into the heap, and so were given to nobody. The
	// pairs are indexed by role: Deaths counts the handles that were found dead, Mourned what Deaths
	// was when a handle of the role was last taken.
	Dropped mem.Word
	Deaths  [2]mem.Word // raised by whoever frees a dead handle
	Mourned [2]mem.Word // stored by whoever takes a handle
	_       [88]byte

	// Watch is not 0 when somebody wants his descriptor written to at the next push. Set by the watcher,
	// cleared by the producer that writes.
	Watch mem.Word
	_     [120]byte
}

// Bell is what sleepers wait on. A sleeper loads Seq, sets Need, looks at the queue once more and sleeps
// while Seq is what it was. Who changes the queue clears Need and, if it was set, raises Seq and wakes.
type Bell struct {
	_ structs.HostLayout

	Seq  mem.Half // compared by the kernel
	Need mem.Half // 1 when somebody may be asleep
	_    [8]byte
}

// Bits of Header.State. The bits for sleepers tell the other side that it must make its stores visible,
// and look at the bell, before it goes on: without them it need not.
const (
	StateClosed    = 1 << 0
	StatePopSleep  = 1 << 1 // a consumer has slept
	StatePushSleep = 1 << 2 // a producer has slept
)

// A slot is one word, and so is everything that happens to it:
//
//	bit  63     1: full
//	bits 51-62  lap: how often the slot has been filled before, modulo 4096
//	bits 43-50  the hand that pushed the element; kept when it is popped; 0 for none
//	bits 0-42   full: the element, an offset into the heap divided by 8; 0 marks the end of the queue
//	bits 0-7    empty: the hand that popped the last element; 0 for none
//
// The element of position t belongs to slot t % slots and lap t / slots % 4096. Pushing it changes the
// slot from empty of that lap to full of that lap, and popping it to empty of the next lap.
const (
	slotFull  = 1 << 63
	lapShift  = 51
	lapUnit   = 1 << lapShift
	lapMask   = 1<<12 - 1
	byShift   = 43
	byMask    = 0xff << byShift
	valueMask = 1<<43 - 1
	popMask   = 0xff

	// Unit is what elements are multiples of: blocks are aligned to 16, and fields that hold pointers
	// or numbers of 64 bits to 8.
	Unit = 8
)

// emptyOf returns the empty word of a lap without evidence.
func emptyOf(lap uint64) uint64 { return lap & lapMask << lapShift }

func lapOf(w uint64) uint64 { return w >> lapShift & lapMask }

// popper and pusher return the hands that a slot names.
func popper(w uint64) int { return int(w & popMask) }

func pusher(w uint64) int { return int(w & byMask >> byShift) }

// Role is one end of a queue.
type Role int

// Roles of a handle, and indices of Deaths and Mourned.
const (
	ProducerRole Role = 0
	ConsumerRole Role = 1
)

// A handle is one word in the table: 0 when it is free, or who has it:
//
//	bits 0-7   1 producer, 2 consumer
//	bits 8-23  slot of the peer
//	bits 24-55 generation of the peer
const (
	handleSlotShift = 8
	handleGenShift  = 24
)

// slotsAt returns where the slots of a queue begin.
func slotsAt(handles uint32) uint64 {
	return (HeaderSize + uint64(handles)*8 + lineSize - 1) &^ (lineSize - 1)
}
