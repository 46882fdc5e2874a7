package queue

import (
	"github.com/shmheap/shmheap/internal/sys"
)

// Info describes a queue at one moment.
type Info struct {
	Kind      Kind   // how many may push and pop at once
	Cap       int    // elements that fit
	Elements  int    // slots that are full
	Closed    bool   // Close has been called
	Dropped   uint64 // elements that were no offsets and went to nobody
	Producers int    // handles, with those of the dead that nobody has noticed
	Consumers int    // handles likewise
	Wait      string // what sleepers sleep on: "futex", "ulock" or "polled"
}

// Info looks at every slot. What goes on meanwhile may or may not be in it.
func (q *Queue) Info() Info {
	return Info{
		Kind: q.kind, Cap: len(q.slots), Elements: q.Elements(), Closed: q.Closed(),
		Dropped:   q.head.Dropped.Load(),
		Producers: len(q.Attached(ProducerRole)), Consumers: len(q.Attached(ConsumerRole)),
		Wait: sys.WaitMethod,
	}
}

// Elements counts the elements, slot by slot.
func (q *Queue) Elements() (n int) {
	for i := range q.slots {
		if w := q.slots[i].Load(); w&slotFull != 0 && w&valueMask != 0 {
			n++
		}
	}
	return n
}

// Waiting returns how many blocks that dead hands had received wait to be delivered again.
func (h *Hands) Waiting() (n int) {
	for i := 1; i < len(h.records); i++ {
		if r := &h.records[i]; r.Owner.Load()&0xff == handOrphan && r.Held.Load() != 0 {
			n++
		}
	}
	return n
}
