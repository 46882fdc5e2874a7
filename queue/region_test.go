package queue

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// goRegion is a heap in Go memory: what several peers share as processes share a mapping. The race
// detector sees every access to it. Its blocks are numbered words that are free or not.
type goRegion struct {
	memory   mem.Memory
	geometry layout.Geometry

	mu    sync.Mutex
	next  uint64
	alive map[heap.PeerID]bool
	live  map[uint64]bool // blocks in use, by address
}

func newGoRegion(t testing.TB, size uint64) *goRegion {
	t.Helper()
	return &goRegion{
		memory:   mem.Over(make([]byte, size+4096)),
		geometry: layout.Geometry{Size: size, Sections: layout.Sections{Data: 4096}},
		next:     4096, alive: make(map[heap.PeerID]bool), live: make(map[uint64]bool),
	}
}

// room returns the offset of n bytes that nobody has.
func (r *goRegion) room(n uint64) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	off := r.next
	r.next += (n + lineSize - 1) &^ (lineSize - 1)
	if r.next > r.geometry.Size {
		panic("the region is too small for the test")
	}
	return off
}

// queue makes a queue for the peer.
func (m *member) queue(t testing.TB, o *Options) *Queue {
	t.Helper()
	h, err := o.header()
	if err != nil {
		t.Fatal(err)
	}
	off := m.room(h.Size)
	h.write(m.memory, off)
	return m.at(t, off)
}

// at returns the peer's view of a queue.
func (m *member) at(t testing.TB, off uint64) *Queue {
	t.Helper()
	q, err := view(m, off)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// hands makes a table of hands for the peer.
func (m *member) hands(t testing.TB, count int) *Hands {
	t.Helper()
	off := m.room(handsSize(count))
	writeHands(m.memory, off, count)
	return m.handsAt(t, off)
}

func (m *member) handsAt(t testing.TB, off uint64) *Hands {
	t.Helper()
	h, err := viewHands(m, off)
	if err != nil {
		t.Fatal(err)
	}
	h.blocks = m
	return h
}

// member is one peer's view of a goRegion.
type member struct {
	*goRegion
	id heap.PeerID
}

func (r *goRegion) join() *member {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := &member{goRegion: r, id: heap.MakePeerID(uint16(len(r.alive)), 1)}
	r.alive[m.id] = true
	return m
}

// die makes the peer dead without returning anything.
func (m *member) die() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.alive[m.id] = false
}

func (r *goRegion) Memory() mem.Memory        { return r.memory }
func (r *goRegion) Geometry() layout.Geometry { return r.geometry }
func (m *member) Peer() heap.PeerID           { return m.id }

func (r *goRegion) Alive(id heap.PeerID) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.alive[id], nil
}

// allocInto, freeFrom and recover make the region the allocator of its hands. Blocks are never used
// twice, so that a second free of one cannot hide.
func (m *member) allocInto(word, size uint64) error {
	off := m.room(size)
	m.mu.Lock()
	m.live[uint64(m.memory.Base())+off] = true
	m.mu.Unlock()
	m.memory.Word(word).StoreRelease(uint64(m.memory.Base()) + off)
	return nil
}

func (m *member) freeFrom(word uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.memory.Word(word).Load()
	if !m.live[at] {
		return fmt.Errorf("free %#x: %w", at, alloc.ErrDoubleFree)
	}
	delete(m.live, at)
	m.memory.Word(word).StoreRelease(0)
	return nil
}

func (m *member) recover() error { return nil }

// inUse returns how many blocks are in use.
func (r *goRegion) inUse() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.live)
}

func mustProducer(t testing.TB, q *Queue) *Producer {
	t.Helper()
	p, err := q.Producer()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustConsumer(t testing.TB, q *Queue) *Consumer {
	t.Helper()
	c, err := q.Consumer()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustHand(t testing.TB, h *Hands) *Hand {
	t.Helper()
	hand, err := h.Hand()
	if err != nil {
		t.Fatal(err)
	}
	return hand
}

func mustPort(t testing.TB, h *Hand, q *Queue) *Port {
	t.Helper()
	p, err := h.Port(q)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// element makes a number of a test an element, and number makes it a number again.
func (q *Queue) element(n int) uint64 { return q.first + uint64(n)*Unit }

func (q *Queue) number(element uint64) int { return int((element - q.first) / Unit) }

func makeAll(t *testing.T, h *Hand, out *Port, n int) {
	for range n {
		if _, err := h.Make(16); err != nil {
			t.Error(err)
			return
		}
		if err := out.Send(t.Context()); err != nil {
			t.Error(err)
			return
		}
	}
}

func moveAll(t *testing.T, in, out *Port) {
	for {
		_, err := in.Receive(t.Context())
		if errors.Is(err, ErrClosed) {
			return
		}
		if err == nil {
			err = out.Send(t.Context())
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}

func freeAll(t *testing.T, h *Hand, in *Port) {
	for {
		_, err := in.Receive(t.Context())
		if errors.Is(err, ErrClosed) {
			return
		}
		if err == nil {
			err = h.Free()
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}
