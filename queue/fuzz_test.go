package queue

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

// FuzzHostileQueue lets a hostile peer write any words anywhere in a queue and in its hands, between the
// operations of an honest one. Whatever it does, an operation returns in bounded time, with an error that
// this package knows or an offset into the heap.
func FuzzHostileQueue(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 1, 1, 2, 3, 4, 5}, uint8(3))
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x10, 2, 2, 2}, uint8(1))
	f.Fuzz(func(t *testing.T, script []byte, kind uint8) {
		r := newGoRegion(t, 1<<16)
		m, other := r.join(), r.join()
		hs := m.hands(t, 3)
		q := m.queue(t, &Options{Kind: Kind(kind%3) + SPSC, Capacity: 8, Handles: 4, Hands: hs})
		h := &hostile{t: t, m: m, q: q, hands: hs, script: script}
		h.attach()
		other.die()
		for begin := time.Now(); len(h.script) > 0; {
			h.act()
			if time.Since(begin) > 20*time.Second {
				t.Fatal("an operation hangs")
			}
		}
	})
}

// hostile is an honest peer's handles and the hostile one's script.
type hostile struct {
	t      *testing.T
	m      *member
	q      *Queue
	hands  *Hands
	p      *Producer
	c      *Consumer
	hand   *Hand
	port   *Port
	script []byte
}

// attach opens everything as it is now. What cannot be opened is missing.
func (h *hostile) attach() {
	q, err := view(h.m, h.q.off)
	h.known(err)
	if err != nil {
		return
	}
	if q.hands != nil {
		q.hands.blocks = h.m
	}
	h.p, err = q.Producer()
	h.known(err)
	h.c, err = q.Consumer()
	h.known(err)
	if q.hands == nil {
		return
	}
	h.hand, h.port = nil, nil // a port without its hand is of no use
	hand, err := q.hands.Hand()
	h.known(err)
	if err != nil {
		return
	}
	port, err := hand.Port(q)
	h.known(err)
	if err == nil {
		h.hand, h.port = hand, port
	}
}

// known fails the test for an error that callers cannot expect.
func (h *hostile) known(err error) {
	h.t.Helper()
	for _, want := range []error{
		nil, ErrEmpty, ErrFull, ErrClosed, ErrTaken, ErrTooMany, ErrKind, ErrDetached, ErrHolds, ErrHoldsNone, ErrOffset,
		ErrCorrupt, ErrNoProducers, ErrNoConsumers, heap.ErrBusy, heap.ErrVersion, context.DeadlineExceeded, alloc.ErrDoubleFree,
	} {
		if errors.Is(err, want) {
			return
		}
	}
	h.t.Errorf("unknown error %v", err)
}

func (h *hostile) byte() (b byte) {
	if len(h.script) > 0 {
		b, h.script = h.script[0], h.script[1:]
	}
	return b
}

// word takes eight bytes, and makes some of them words that look right.
func (h *hostile) word() uint64 {
	var b [8]byte
	h.script = h.script[copy(b[:], h.script):]
	w := binary.LittleEndian.Uint64(b[:])
	switch w % 4 {
	case 0:
		return slotFull | w%16<<lapShift | w>>8%4<<byShift | 4096/Unit
	case 1:
		return w%16<<lapShift | w>>8%4<<byShift | w>>16%4
	case 2:
		return handOwner(w>>8%4, h.m.id)
	}
	return w
}

func (h *hostile) act() {
	switch h.byte() % 10 {
	case 0, 1: // the hostile peer
		span := h.q.off + uint64(len(h.q.slots)*8) + slotsAt(4) - h.hands.off
		at := h.hands.off + uint64(h.byte())<<8%span + uint64(h.byte())%256
		h.m.memory.Word(min(at&^7, h.hands.off+span-8)).Swap(h.word())
	case 2:
		h.attach()
	case 3:
		if h.p != nil {
			h.known(h.p.TryPush(h.q.element(int(h.byte()))))
		}
	case 4:
		h.pop()
	case 5:
		h.sendAndReceive()
	case 6:
		_, err := h.hands.Recover()
		h.known(err)
	case 7:
		h.batch()
	case 8:
		h.q.Info()
	case 9:
		h.block()
	}
}

func (h *hostile) pop() {
	if h.c == nil {
		return
	}
	v, err := h.c.TryPop()
	h.known(err)
	if err == nil && (v < h.q.first || v-h.q.first >= h.q.span) {
		h.t.Errorf("popped %#x", v)
	}
}

func (h *hostile) batch() {
	if h.p == nil || h.c == nil {
		return
	}
	var batch [12]uint64
	for i := range batch {
		batch[i] = h.q.element(i)
	}
	_, err := h.p.TryPushAll(batch[:])
	h.known(err)
	n, err := h.c.TryPopAll(batch[:])
	h.known(err)
	for _, v := range batch[:n] {
		if v < h.q.first || v-h.q.first >= h.q.span {
			h.t.Errorf("popped %#x", v)
		}
	}
}

func (h *hostile) sendAndReceive() {
	if h.port == nil {
		return
	}
	h.known(h.port.TrySend())
	off, err := h.port.TryReceive()
	h.known(err)
	if err == nil && (off < h.q.first || off-h.q.first >= h.q.span) {
		h.t.Errorf("received %#x", off)
	}
	if err == nil {
		h.known(h.hand.Free())
	}
}

// block waits for a millisecond.
func (h *hostile) block() {
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Millisecond)
	defer cancel()
	if h.c != nil {
		_, err := h.c.Pop(ctx)
		h.known(err)
	}
	if h.p != nil {
		h.known(h.p.Push(ctx, h.q.first))
	}
}
