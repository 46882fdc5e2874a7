package queue

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
	"weak"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/mem"
)

// Broadcast is a ring of records that one writer overwrites without waiting for anybody, and any number
// of readers read, each at its own place. A reader that is too slow is told how many records it has lost:
// records read and lost add up to those written.
//
// A slot is a sequence word and the words of the record. The writer clears the sequence, stores the
// record and then the sequence, which is the record's number plus one; the reader looks at it before
// and after. A writer that dies in between leaves a slot without a record, and the next writer begins
// with it.
type Broadcast struct {
	q     *Queue
	words uint64 // of a slot, the sequence included
	mask  uint64
}

// BroadcastOptions say what a new broadcast ring is like. The zero value is valid.
type BroadcastOptions struct {
	// Capacity is the number of records, rounded up to a power of two. 0 means 1024.
	Capacity int
	// Words is the length of a record in words of 64 bits, at most 511. 0 means 7: a record and its
	// sequence are one line then.
	Words int
}

const maxRecord = 4096 // bytes of a slot

func (o *BroadcastOptions) header() (Header, error) {
	var v BroadcastOptions
	if o != nil {
		v = *o
	}
	if v.Words == 0 {
		v.Words = 7
	}
	if v.Words < 1 || v.Words >= maxRecord/8 {
		return Header{}, fmt.Errorf("%w: %+v", ErrOptions, v)
	}
	h, err := (&Options{Kind: SPSC, Capacity: v.Capacity, Handles: 2}).header()
	h.Kind, h.Record = uint32(broadcastKind), uint64(v.Words+1)*8
	h.Size = h.Slots + h.Record<<h.Order
	return h, err
}

// OpenBroadcast returns the broadcast ring of that name, a root of the heap, and makes it if there is none
// and o is not nil. The errors are those of Open.
func OpenBroadcast(a *alloc.Allocator, name string, o *BroadcastOptions) (*Broadcast, error) {
	r, err := a.Heap().LoadRoot(name)
	if errors.Is(err, heap.ErrNoRoot) && o != nil {
		r, err = createBroadcast(a, name, o)
	}
	if err == nil && r.Type != broadcastType {
		err = fmt.Errorf("%w: %q is a %s", heap.ErrRootType, name, r.TypeName)
	}
	if err != nil {
		return nil, fmt.Errorf("open broadcast: %w", err)
	}
	return viewBroadcast(a.Heap(), r.Offset)
}

const broadcastType heap.Fingerprint = 0x42434153545f7631

func createBroadcast(a *alloc.Allocator, name string, o *BroadcastOptions) (heap.Root, error) {
	h, err := o.header()
	if err != nil {
		return heap.Root{}, err
	}
	off, err := zeroedBlock(a, h.Size)
	if err != nil {
		return heap.Root{}, err
	}
	h.write(a.Heap().Memory(), off)
	r, loaded, err := a.Heap().LoadOrStoreRoot(heap.Root{Name: name, Offset: off, Type: broadcastType, TypeName: "broadcast"})
	if err != nil || loaded {
		err = errors.Join(err, freeBlock(a, off))
	}
	return r, err
}

func viewBroadcast(r region, off uint64) (*Broadcast, error) {
	q, err := viewAny(r, off)
	if err != nil {
		return nil, err
	}
	if q.kind != broadcastKind {
		return nil, fmt.Errorf("queue at %#x: %w: no broadcast ring", off, ErrKind)
	}
	words := uint64(len(q.slots)) >> q.order
	if words < 2 {
		return nil, fmt.Errorf("queue at %#x: %w: slots of %d words", off, ErrCorrupt, words)
	}
	return &Broadcast{q: q, words: words, mask: 1<<q.order - 1}, nil
}

// Words returns the length of a record in words of 64 bits.
func (b *Broadcast) Words() int { return int(b.words) - 1 }

// Offset returns the distance of the ring from the base of the heap.
func (b *Broadcast) Offset() uint64 { return b.q.off }

// Cap returns how many records the ring keeps.
func (b *Broadcast) Cap() int { return int(b.mask) + 1 }

// Written returns how many records have been written since the ring was made.
func (b *Broadcast) Written() uint64 { return b.q.head.Tail.Load() }

// slot returns the words of a position's slot.
func (b *Broadcast) slot(at uint64) []mem.Word {
	i := (at & b.mask) * b.words
	return b.q.slots[i : i+b.words]
}

// Writer writes to a broadcast ring. One goroutine may use it at a time.
type Writer struct {
	ring   *Broadcast
	at     uint64
	state  *mem.Word
	tail   *mem.Word
	slots  []mem.Word
	mask   uint64
	line   bool // a slot is a line of 64 bytes
	handle handle
	tie    tie
}

// Writer returns the ring's writer. It returns ErrTaken as long as another one lives.
func (b *Broadcast) Writer() (*Writer, error) {
	h, err := b.q.attach(ProducerRole, true)
	if err != nil {
		return nil, fmt.Errorf("writer: %w", err)
	}
	at := b.q.head.Tail.Load()
	if b.slot(at)[0].Load() == at+1 { // the last writer died before it could say so
		at++
	}
	b.q.head.Tail.StoreRelease(at)
	w := &Writer{
		ring: b, at: at, state: &b.q.head.State, tail: &b.q.head.Tail, slots: b.q.slots, mask: b.mask,
		line: b.words == lineSlots, handle: h,
	}
	if w.tie, err = newTie(b.q.region, w.detach); err != nil {
		return nil, err
	}
	return w, nil
}

// Write writes a record of at most Words words; what is missing is zero. It never waits. It returns
// ErrOptions for a record that is too long, and ErrDetached. Killed at any point, the record is there or
// is not.
func (w *Writer) Write(record ...uint64) error {
	if w.line && len(record) == lineSlots-1 {
		w.writeLine((*[lineSlots - 1]uint64)(record))
		return nil
	}
	if w.ring == nil {
		return ErrDetached
	}
	slot := w.ring.slot(w.at)
	if len(record) >= len(slot) {
		return fmt.Errorf("write: %w: %d words, at most %d", ErrOptions, len(record), len(slot)-1)
	}
	slot[0].StoreRelease(0)
	crashpoint.Hit("queue.write.after-clear")
	body, rest := slot[1:1+len(record)], slot[1+len(record):]
	for i, v := range record {
		body[i].Publish(v)
	}
	for i := range rest {
		rest[i].Publish(0)
	}
	w.publish(&slot[0], w.state.Load())
	return nil
}

// writeLine is Write for a slot that is a line, without a loop or a call. The load of the state, an atomic one,
// keeps the compiler from leaving out the store before it.
func (w *Writer) writeLine(record *[lineSlots - 1]uint64) {
	line := (*[lineSlots]mem.Word)(w.slots[w.at&w.mask*lineSlots:])
	line[0].Publish(0)
	state := w.state.Load()
	crashpoint.Hit("queue.write.after-clear")
	line[1].Publish(record[0])
	line[2].Publish(record[1])
	line[3].Publish(record[2])
	line[4].Publish(record[3])
	line[5].Publish(record[4])
	line[6].Publish(record[5])
	line[7].Publish(record[6])
	if state&StatePopSleep != 0 {
		w.publish(&line[0], state)
		return
	}
	w.at++
	line[0].Publish(w.at)
	w.tail.Publish(w.at)
}

// publish stores the sequence; where readers sleep with a full barrier, as in Producer.store.
func (w *Writer) publish(sequence *mem.Word, state uint64) {
	w.at++
	if state&StatePopSleep == 0 {
		sequence.Publish(w.at)
		w.tail.Publish(w.at)
		return
	}
	sequence.Swap(w.at)
	crashpoint.Hit("queue.write.after-sequence")
	w.tail.StoreRelease(w.at)
	if bell := &w.ring.q.head.Pops; bell.Need.Load() != 0 && bell.Need.Swap(0) != 0 {
		bell.ringAll()
	}
}

// Close gives the handle back. It returns ErrDetached when that has been done.
func (w *Writer) Close() error { return w.tie.close(w.detach) }

func (w *Writer) detach() error {
	if w.ring == nil {
		return ErrDetached
	}
	w.ring.q.detach(w.handle)
	w.ring, w.line = nil, false
	return nil
}

// Reader reads a broadcast ring. One goroutine may use it at a time. It writes nothing that the writer
// looks at but for the bell, so it cannot slow it down.
type Reader struct {
	ring   *Broadcast
	at     uint64
	lost   uint64
	waiter waiter
}

// Reader returns a reader that begins with the next record that is written.
func (b *Broadcast) Reader() *Reader {
	r := &Reader{ring: b, at: b.q.head.Tail.Load()}
	r.waiter = newWaiter(b.q, ConsumerRole, func() bool { return false })
	r.tie()
	return r
}

// tie makes Heap.Close close the reader, which has nothing to give back, and so need not be closed by who has done with it.
func (r *Reader) tie() {
	reader := weak.Make(r)
	t, err := newTie(r.ring.q.region, func() error {
		if r := reader.Value(); r != nil {
			r.ring = nil
		}
		return nil
	})
	if err == nil && t.heap != nil {
		runtime.AddCleanup(r, func(forget func()) { forget() }, t.forget)
	}
}

// TryRead copies the next record into record, which is as long as a record or shorter. It returns how many
// records have been lost since the last one, and ErrEmpty when there is none yet. A sequence that no
// writer can have written is ErrCorrupt. ErrDetached says that the heap is closed.
func (r *Reader) TryRead(record []uint64) (lost uint64, err error) {
	if r.ring == nil {
		return 0, ErrDetached
	}
	for range 64 { // a writer that overwrites under the reader's eyes each time is fast indeed
		slot := r.ring.slot(r.at)
		sequence := slot[0].Load()
		if sequence == r.at+1 {
			for i := range min(len(record), len(slot)-1) {
				record[i] = slot[i+1].Load()
			}
			if slot[0].Load() == sequence {
				r.at++
				lost, r.lost = r.lost, 0
				return lost, nil
			}
			continue
		}
		if sequence == 0 && r.overtaken() {
			continue
		}
		if sequence == 0 || int64(sequence-r.at-1) < 0 {
			return 0, ErrEmpty
		}
		if err := r.skip(sequence); err != nil {
			return 0, err
		}
	}
	return 0, ErrEmpty
}

// overtaken goes on with what the ring still holds when the reader's record has been written before and is being
// overwritten now. The writer may be stopped in the middle of that, or dead. The last record bears out the number that
// have been written.
func (r *Reader) overtaken() bool {
	written := r.ring.q.head.Tail.Load()
	if int64(written-r.at) < int64(r.ring.Cap()) || r.ring.slot(written - 1)[0].Load() != written {
		return false
	}
	r.goOn(written)
	return true
}

// skip goes to the middle of what the ring still holds, behind the record that sequence belongs to.
func (r *Reader) skip(sequence uint64) error {
	written := r.ring.q.head.Tail.Load()
	if sequence > written+1 || (sequence-r.at-1)&r.ring.mask != 0 {
		return fmt.Errorf("read: %w: sequence %d with %d written", ErrCorrupt, sequence, written)
	}
	r.goOn(max(sequence, written))
	return nil
}

// goOn leaves out records, up to the middle of those that a ring holds of so many.
func (r *Reader) goOn(written uint64) {
	to := written - uint64(r.ring.Cap())/2
	if to <= r.at {
		to = r.at + 1
	}
	r.lost += to - r.at
	r.at = to
}

// Read is TryRead that waits for a record: it spins for a moment and then sleeps. It also returns ctx's
// error, and ErrNoProducers when the writer has died. Who sleeps has to say so in the ring: in a heap that is
// open for reading alone it returns heap.ErrReadOnly, and TryRead works.
func (r *Reader) Read(ctx context.Context, record []uint64) (lost uint64, err error) {
	if r.ring == nil {
		return 0, ErrDetached
	}
	if err := mayWrite(r.ring.q.region); err != nil {
		return 0, err
	}
	err = r.waiter.await(ctx, ErrEmpty, func() error {
		lost, err = r.TryRead(record)
		return err
	})
	return lost, err
}

// SetSpin says how long Read looks at the ring before it sleeps: see Producer.SetSpin.
func (r *Reader) SetSpin(d time.Duration) { r.waiter.setSpin(d) }

// Pending returns how many records have been written that the reader has neither read nor counted as
// lost, and 0 when the heap is closed.
func (r *Reader) Pending() uint64 {
	if r.ring == nil {
		return 0
	}
	return r.ring.Written() - r.at + r.lost
}
