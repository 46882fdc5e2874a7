package queue

import (
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/heap"
)

// Seen is what can be seen of a queue, a broadcast ring or a mailbox from outside.
type Seen struct {
	Kind      string        // "spsc", "mpsc", "mpmc", "broadcast" or "mailbox"
	Cap       int           // elements or records that fit, 1 for a mailbox
	Elements  int           // slots that are full; of a broadcast ring the records that it keeps; of a mailbox 1 when the server has the turn
	Closed    bool          // Close has been called
	Dropped   uint64        // elements that were no offsets and went to nobody
	Producers []heap.PeerID // handles, those of dead peers too until somebody notices; the writer; the client
	Consumers []heap.PeerID // likewise; the server

	// PushWaits and PopWaits say that a producer or a consumer may be asleep.
	PushWaits, PopWaits bool
	// Pushed and Popped are counts whose differences tell the rates: modulo Modulus where that is not 0, and
	// up to eight behind for each handle.
	Pushed, Popped, Modulus uint64
}

// ErrNoQueue says that a root leads to something else than a queue.
var ErrNoQueue = errors.New("no queue")

// Look describes the queue, broadcast ring or mailbox that a root of a heap leads to, without taking part. It
// returns ErrNoQueue for a root of another type, and the errors of At.
func Look(v *heap.View, r heap.Root) (Seen, error) {
	if r.Type != rootType && r.Type != broadcastType && r.Type != mailboxType {
		return Seen{}, fmt.Errorf("root %q: %w: a %s", r.Name, ErrNoQueue, r.TypeName)
	}
	return look(v, r, v.IsCommitted)
}

func look(g region, r heap.Root, stored func(uint64) bool) (Seen, error) {
	if !stored(r.Offset) {
		return Seen{}, fmt.Errorf("root %q: %w: nothing is stored at %#x", r.Name, ErrCorrupt, r.Offset)
	}
	if r.Type == mailboxType {
		m, err := viewMailbox(g, r.Offset)
		if err != nil {
			return Seen{}, err
		}
		return m.seen(), nil
	}
	q, err := viewAny(g, r.Offset)
	if err != nil {
		return Seen{}, err
	}
	_, h, err := headerAt(g, r.Offset)
	for at := r.Offset; err == nil && at < r.Offset+h.size; at += 1 << 16 {
		if !stored(at) {
			err = fmt.Errorf("queue at %#x: %w: nothing is stored at %#x", r.Offset, ErrCorrupt, at)
		}
	}
	if err != nil {
		return Seen{}, err
	}
	return q.seen(), nil
}

func (q *Queue) seen() Seen {
	s := Seen{
		Kind: kindNames[q.kind], Cap: 1 << q.order, Closed: q.Closed(), Dropped: q.head.Dropped.Load(),
		Producers: q.Attached(ProducerRole), Consumers: q.Attached(ConsumerRole),
		PushWaits: q.head.Pushes.Need.Load() != 0, PopWaits: q.head.Pops.Need.Load() != 0,
		Pushed: q.head.Tail.Load(), Popped: q.head.Head.Load(),
	}
	if q.kind == broadcastKind {
		s.Elements, s.Popped = int(min(s.Pushed, uint64(s.Cap))), 0
		return s
	}
	s.Elements, s.Modulus = q.Elements(), q.positionMask()+1
	return s
}

var kindNames = map[Kind]string{SPSC: "spsc", MPSC: "mpsc", MPMC: "mpmc", broadcastKind: "broadcast"}

func (m *Mailbox) seen() Seen {
	turn := m.box.Turn.Load()
	s := Seen{
		Kind: "mailbox", Cap: 1, Elements: int(turn & 1), Pushed: (turn + 1) / 2, Popped: turn / 2,
		PushWaits: m.box.Replies.Need.Load() != 0, PopWaits: m.box.Requests.Need.Load() != 0,
	}
	for i, to := range []*[]heap.PeerID{&s.Producers, &s.Consumers} {
		if owner := m.box.Owners[i].Load(); owner != 0 {
			*to = append(*to, handlePeer(owner))
		}
	}
	return s
}
