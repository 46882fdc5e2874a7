package arena

import (
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/kmod/bpf"
	"github.com/shmheap/shmheap/queue"
)

// Offsets in the header of a queue (doc/format.md); a test compares them with package queue.
const (
	queueState   = 128
	queueTail    = 256
	queueHead    = 384
	queuePops    = 512
	queuePushes  = 640
	queueDropped = 768
)

// Bits of a slot, as in package queue.
const (
	lapShift   = 51
	lapMask    = 4095
	valueBits  = 43
	pusherBits = 8
	slotFull   = 1 << 63
)

// probes is how many slots a block looks at: hints lag behind by up to eight slots for each handle.
const probes = 500

// ErrHands is returned for a queue with hands: what a program holds is nobody's to recover.
var ErrHands = errors.New("the queue has hands")

// Queue is one end of a queue for programs. It holds the handle on their behalf, so that the other end knows that
// somebody is there as long as the process that has loaded them lives. Any number of processors may run the
// programs at once, on a queue of whatever kind: they change slots by compare-and-swap only.
//
// Programs wake sleepers of the other end through News, if they are given one; without it these look again by
// themselves, after half a second at most.
type Queue struct {
	region *Region
	queue  *queue.Queue
	news   *News
	handle interface{ Close() error }
	off    uint64
	order  int32
	slots  uint64 // offset from the base
	first  uint64
	span   uint64
}

// Consumer makes programs a consumer of a queue. It returns ErrHeap, ErrHands, and the errors of queue.Consumer.
func Consumer(h *heap.Heap, q *queue.Queue, n *News) (*Queue, error) {
	e, err := bindQueue(h, q, n)
	if err != nil {
		return nil, err
	}
	e.handle, err = q.Consumer()
	return e, err
}

// Producer makes programs a producer of a queue. The errors are Consumer's.
func Producer(h *heap.Heap, q *queue.Queue, n *News) (*Queue, error) {
	e, err := bindQueue(h, q, n)
	if err != nil {
		return nil, err
	}
	e.handle, err = q.Producer()
	return e, err
}

func bindQueue(h *heap.Heap, q *queue.Queue, n *News) (*Queue, error) {
	r, err := Of(h)
	if err != nil {
		return nil, err
	}
	head := mem.View[queue.Header](h.Memory(), q.Offset())
	order, slots, hands := head.Order, head.Slots, head.Hands
	switch {
	case hands != 0:
		return nil, fmt.Errorf("queue at %#x: %w", q.Offset(), ErrHands)
	case 1<<order != q.Cap() || !h.Memory().Contains(q.Offset()+slots, uint64(q.Cap())*8):
		return nil, fmt.Errorf("queue at %#x: %w", q.Offset(), queue.ErrCorrupt)
	}
	data := h.Geometry().Sections.Data
	return &Queue{
		region: r, queue: q, news: n, off: q.Offset(), order: int32(order), slots: q.Offset() + slots,
		first: data, span: h.Size() - data,
	}, nil
}

// Close gives the handle back. The programs must have been closed before.
func (q *Queue) Close() error { return q.handle.Close() }

// begin makes R8 lead to the header and R9 the position that a hint tells.
func (q *Queue) begin(hint int16) []bpf.Instruction {
	return Program(q.region.At(bpf.R8, q.off), []bpf.Instruction{
		bpf.LoadFrom(bpf.Bits64, bpf.R9, bpf.R8, hint),
	}, q.bound(), q.region.Zero(bpf.R5))
}

// bound keeps the position in R9 below its limit. It destroys R0.
func (q *Queue) bound() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.Set64(bpf.R0, (lapMask+1)<<q.order-1), bpf.Compute(bpf.And, bpf.R9, bpf.R0),
	}
}

// look makes R3 lead to the slot of the position, R4 its empty word in the lap of the position, and R0 what it holds;
// R2 is how many laps the slot is ahead, modulo 4096. It goes to the label when it has looked too often.
func (q *Queue) look(label, tired string) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.Mark(label + "-look"),
		bpf.OrLeave(tired),
		bpf.ComputeBy(bpf.Add, bpf.R5, 1),
		bpf.JumpIfValue(bpf.Greater, bpf.R5, probes, tired),
		bpf.Move(bpf.R2, bpf.R9),
		bpf.ComputeBy(bpf.And, bpf.R2, 1<<q.order-1),
		bpf.ComputeBy(bpf.Lsh, bpf.R2, 3),
		bpf.Set64(bpf.R3, q.region.base+q.slots),
		bpf.Compute(bpf.Add, bpf.R3, bpf.R2),
		bpf.CastKernel(bpf.R3, bpf.R3),
		bpf.Move(bpf.R4, bpf.R9),
		bpf.ComputeBy(bpf.Rsh, bpf.R4, q.order),
		bpf.LoadFrom(bpf.Bits64, bpf.R0, bpf.R3, 0),
		bpf.Move(bpf.R2, bpf.R0),
		bpf.ComputeBy(bpf.Rsh, bpf.R2, lapShift),
		bpf.Compute(bpf.Sub, bpf.R2, bpf.R4),
		bpf.ComputeBy(bpf.And, bpf.R2, lapMask),
		bpf.ComputeBy(bpf.Lsh, bpf.R4, lapShift),
	}
}

// step goes to the next position and looks there.
func (q *Queue) step(label string) []bpf.Instruction {
	return Program([]bpf.Instruction{bpf.Mark(label + "-step"), bpf.ComputeBy(bpf.Add, bpf.R9, 1)}, q.bound(),
		[]bpf.Instruction{bpf.Jump(label + "-look")})
}

// hint stores the position behind R9 as a hint.
func (q *Queue) hint(at int16) []bpf.Instruction {
	return Program([]bpf.Instruction{bpf.ComputeBy(bpf.Add, bpf.R9, 1)}, q.bound(),
		[]bpf.Instruction{bpf.StoreTo(bpf.Bits64, bpf.R8, at, bpf.R9)})
}

// Pop takes the first element. R7 is its offset in the heap, or 0 when there is none; R6 is left alone.
func (q *Queue) Pop(label string) []bpf.Instruction {
	none := label + "-none"
	return Program(q.begin(queueHead), q.look(label, none), []bpf.Instruction{
		bpf.JumpIfValue(bpf.Equal, bpf.R2, 0, label+"-here"),
		bpf.JumpIfValue(bpf.Less, bpf.R2, lapMask/2, label+"-step"),
		bpf.Jump(none), // the hint was wrong: who has spoilt it has spoilt the queue
	}, q.step(label), []bpf.Instruction{
		bpf.Mark(label + "-here"),
		bpf.JumpIf(bpf.Equal, bpf.R0, bpf.R4, none), // not filled yet
		bpf.Move(bpf.R7, bpf.R0),
		bpf.ComputeBy(bpf.Lsh, bpf.R7, 64-valueBits),
		bpf.ComputeBy(bpf.Rsh, bpf.R7, 64-valueBits),
		bpf.JumpIfValue(bpf.Equal, bpf.R7, 0, none), // the mark at the end
		// Empty, of the next lap, with the pusher that was there.
		bpf.Move(bpf.R1, bpf.R9),
		bpf.ComputeBy(bpf.Rsh, bpf.R1, q.order),
		bpf.ComputeBy(bpf.Add, bpf.R1, 1),
		bpf.ComputeBy(bpf.And, bpf.R1, lapMask),
		bpf.ComputeBy(bpf.Lsh, bpf.R1, lapShift),
		bpf.Move(bpf.R2, bpf.R0),
		bpf.ComputeBy(bpf.Lsh, bpf.R2, 64-valueBits-pusherBits),
		bpf.ComputeBy(bpf.Rsh, bpf.R2, 64-pusherBits),
		bpf.ComputeBy(bpf.Lsh, bpf.R2, valueBits),
		bpf.Compute(bpf.Or, bpf.R1, bpf.R2),
		bpf.Move(bpf.R4, bpf.R0),
		bpf.CompareExchange(bpf.Bits64, bpf.R3, 0, bpf.R1),
		bpf.JumpIf(bpf.NotEqual, bpf.R0, bpf.R4, label+"-look"),
	}, q.hint(queueHead), q.ring(label, queuePushes, queue.StatePushSleep), q.inside(label), []bpf.Instruction{
		bpf.Mark(none),
		bpf.Set32(bpf.R7, 0),
		bpf.Mark(label + "-end"),
	})
}

// inside makes the element in R7 an offset and goes to the end, or counts one that leads out of the heap and goes to where
// there is none.
func (q *Queue) inside(label string) []bpf.Instruction {
	return Program([]bpf.Instruction{
		bpf.ComputeBy(bpf.Lsh, bpf.R7, 3),
		bpf.Move(bpf.R1, bpf.R7),
		bpf.Set64(bpf.R2, q.first),
		bpf.Compute(bpf.Sub, bpf.R1, bpf.R2),
		bpf.Set64(bpf.R2, q.span),
		bpf.JumpIf(bpf.Less, bpf.R1, bpf.R2, label+"-end"),
	}, q.region.Count(q.off+queueDropped), []bpf.Instruction{bpf.Jump(label + "-none")})
}

// What Push answers.
const (
	Pushed = 0
	Full   = 1
	Closed = 2
)

// Push appends the element whose offset in the heap is in R7, a multiple of 8 that the program answers for. R0 is Pushed,
// Full or Closed. R6 and R7 are left alone.
func (q *Queue) Push(label string) []bpf.Instruction {
	full := label + "-full"
	return Program(q.begin(queueTail), []bpf.Instruction{
		bpf.LoadFrom(bpf.Bits64, bpf.R1, bpf.R8, queueState),
		bpf.JumpIfValue(bpf.Set, bpf.R1, queue.StateClosed, label+"-closed"),
	}, q.look(label, full), []bpf.Instruction{
		bpf.JumpIf(bpf.Equal, bpf.R0, bpf.R4, label+"-here"),
		bpf.JumpIfValue(bpf.Less, bpf.R2, lapMask/2, label+"-step"),
		bpf.Jump(full),
	}, q.step(label), []bpf.Instruction{
		bpf.Mark(label + "-here"),
		bpf.Move(bpf.R1, bpf.R7),
		bpf.ComputeBy(bpf.Rsh, bpf.R1, 3),
		bpf.Compute(bpf.Or, bpf.R1, bpf.R4),
		bpf.Set64(bpf.R2, slotFull),
		bpf.Compute(bpf.Or, bpf.R1, bpf.R2),
		bpf.CompareExchange(bpf.Bits64, bpf.R3, 0, bpf.R1),
		bpf.JumpIf(bpf.NotEqual, bpf.R0, bpf.R4, label+"-look"),
	}, q.hint(queueTail), q.ring(label, queuePops, queue.StatePopSleep), []bpf.Instruction{
		bpf.Set32(bpf.R0, Pushed),
		bpf.Jump(label + "-end"),
		bpf.Mark(full),
		bpf.Set32(bpf.R0, Full),
		bpf.Jump(label + "-end"),
		bpf.Mark(label + "-closed"),
		bpf.Set32(bpf.R0, Closed),
		bpf.Mark(label + "-end"),
	})
}

// ring wakes who sleeps at a bell, if there is somebody and somebody to be told. R8 leads to the header.
func (q *Queue) ring(label string, bell int16, sleeps int32) []bpf.Instruction {
	if q.news == nil {
		return nil
	}
	quiet := label + "-quiet"
	return Program([]bpf.Instruction{
		bpf.LoadFrom(bpf.Bits64, bpf.R1, bpf.R8, queueState),
		bpf.JumpIfValue(bpf.Set, bpf.R1, sleeps, label+"-ring"),
		bpf.Jump(quiet),
		bpf.Mark(label + "-ring"),
		bpf.Set32(bpf.R1, 0),
		bpf.Exchange(bpf.Bits32, bpf.R8, bell+4, bpf.R1),
		bpf.JumpIfValue(bpf.Equal, bpf.R1, 0, quiet),
		bpf.Set32(bpf.R1, 1),
		bpf.FetchAdd(bpf.Bits32, bpf.R8, bell, bpf.R1),
		bpf.Set64(bpf.R1, q.off+uint64(bell)),
	}, q.news.Tell(newsWake), []bpf.Instruction{bpf.Mark(quiet)})
}
