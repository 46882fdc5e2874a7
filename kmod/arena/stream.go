package arena

import (
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/kmod/bpf"
	"github.com/shmheap/shmheap/queue"
)

// Stream is a broadcast ring that programs write: records at high volume, of which a reader that is too slow loses some
// and is told how many. It holds the ring's one writer on their behalf.
//
// Programs write at once on several processors, and the ring has one writer: a program takes the ring's Head, which a
// broadcast ring has no other use for, writes and gives it back. One that finds it taken waits for nothing and drops its
// record, which Missed counts. Nobody can be killed in between, as programs end.
//
//	records written + Missed == records that programs wanted to write
type Stream struct {
	region *Region
	news   *News
	ring   *queue.Broadcast
	writer *queue.Writer
	head   *queue.Header
	off    uint64
	slots  uint64
	order  int32
	words  int32 // of a slot, the sequence included
}

// NewStream makes programs the writer of the ring of that name, which it makes if there is none. Sleeping readers are woken
// through the news, nil for none. It returns ErrHeap, and the errors of queue.OpenBroadcast and Broadcast.Writer.
func NewStream(a *alloc.Allocator, name string, o *queue.BroadcastOptions, n *News) (*Stream, error) {
	h := a.Heap()
	r, err := Of(h)
	if err != nil {
		return nil, err
	}
	b, err := queue.OpenBroadcast(a, name, o)
	if err != nil {
		return nil, err
	}
	w, err := b.Writer()
	if err != nil {
		return nil, err
	}
	return bindStream(h.Memory(), b.Offset(), &Stream{region: r, news: n, ring: b, writer: w})
}

func bindStream(m mem.Memory, off uint64, s *Stream) (*Stream, error) {
	head := mem.View[queue.Header](m, off)
	order, slots, record := head.Order, head.Slots, head.Record
	s.head, s.off, s.slots = head, off, off+slots
	s.order, s.words = int32(order), int32(s.ring.Words())+1
	if 1<<order != s.ring.Cap() || record != 8*uint64(s.words) || !m.Contains(s.slots, record<<order) {
		return nil, errors.Join(fmt.Errorf("ring at %#x: %w", off, queue.ErrCorrupt), s.writer.Close())
	}
	head.Head.Swap(0) // whoever wrote before is gone with its programs
	return s, nil
}

// Ring is the ring, for readers in this process.
func (s *Stream) Ring() *queue.Broadcast { return s.ring }

// Missed returns how many records were dropped because another processor was writing.
func (s *Stream) Missed() uint64 { return s.head.Dropped.Load() }

// Close gives the ring back. The programs must have been closed before.
func (s *Stream) Close() error { return s.writer.Close() }

// Write is the block that writes a record whose words are on the stack from R10 + at on; words that are missing are what they
// were. R6 and R7 are left alone.
func (s *Stream) Write(label string, at int16, words int) []bpf.Instruction {
	code := Program(s.region.At(bpf.R8, s.off), []bpf.Instruction{
		bpf.Set32(bpf.R1, 1),
		bpf.Exchange(bpf.Bits64, bpf.R8, queueHead, bpf.R1),
		bpf.JumpIfValue(bpf.NotEqual, bpf.R1, 0, label+"-missed"),
		bpf.LoadFrom(bpf.Bits64, bpf.R9, bpf.R8, queueTail),
		bpf.Move(bpf.R2, bpf.R9),
		bpf.ComputeBy(bpf.And, bpf.R2, 1<<s.order-1),
		bpf.ComputeBy(bpf.Mul, bpf.R2, 8*s.words),
		bpf.Set64(bpf.R3, s.region.base+s.slots),
		bpf.Compute(bpf.Add, bpf.R3, bpf.R2),
		bpf.CastKernel(bpf.R3, bpf.R3),
		bpf.Set32(bpf.R1, 0),
		bpf.Exchange(bpf.Bits64, bpf.R3, 0, bpf.R1), // no record, before its words change
	})
	for i := range min(words, int(s.words)-1) {
		code = append(code, bpf.LoadFrom(bpf.Bits64, bpf.R1, bpf.R10, at+int16(8*i)),
			bpf.StoreTo(bpf.Bits64, bpf.R3, int16(8*i+8), bpf.R1))
	}
	return Program(code, []bpf.Instruction{
		bpf.ComputeBy(bpf.Add, bpf.R9, 1),
		bpf.Move(bpf.R1, bpf.R9),
		bpf.Exchange(bpf.Bits64, bpf.R3, 0, bpf.R1), // a record, behind its words
		bpf.Move(bpf.R1, bpf.R9),
		bpf.Exchange(bpf.Bits64, bpf.R8, queueTail, bpf.R1),
		bpf.Set32(bpf.R1, 0),
		bpf.Exchange(bpf.Bits64, bpf.R8, queueHead, bpf.R1),
	}, s.wake(label), []bpf.Instruction{bpf.Jump(label + "-end"), bpf.Mark(label + "-missed")},
		s.region.Count(s.off+queueDropped), []bpf.Instruction{bpf.Mark(label + "-end")})
}

// wake wakes sleeping readers.
func (s *Stream) wake(label string) []bpf.Instruction {
	q := Queue{region: s.region, news: s.news, off: s.off}
	return q.ring(label, queuePops, queue.StatePopSleep)
}
