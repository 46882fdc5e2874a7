package arena

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/kmod/bpf"
)

// News is how programs wake processes: a program tells, and the process that runs Run passes it on, to whoever
// sleeps at the words and queues of the heap in whatever process. As many programs as one likes may have the same.
type News struct {
	heap *heap.Heap
	ring *bpf.Ring
}

// Kinds of news, in the first word of a record.
const (
	newsWake  = 1 // somebody may sleep at the offset
	newsDeath = 2 // a thread of the process ended
	newsUser  = 3 // for the function that Run was given
)

const recordSize = 16

// NewNews returns news for the programs of a heap. It returns a *bpf.SupportError where that takes more privilege.
func NewNews(h *heap.Heap) (*News, error) {
	const size = 64 << 10
	ring, err := bpf.NewRing(size)
	if err != nil {
		return nil, fmt.Errorf("news of heap %q: %w", h.Name(), err)
	}
	return &News{h, ring}, nil
}

// Tell is the block that tells of the number in R1. It uses 16 bytes of the stack, destroys R0 to R5, and leaves
// R6 to R9 alone. When nobody has read for long it is lost.
func (n *News) Tell(kind int32) []bpf.Instruction {
	const forceWakeup = 1 << 1 // BPF_RB_FORCE_WAKEUP
	return []bpf.Instruction{
		bpf.SetTo(bpf.Bits64, bpf.R10, -recordSize, kind),
		bpf.StoreTo(bpf.Bits64, bpf.R10, 8-recordSize, bpf.R1),
		bpf.Map(bpf.R1, n.ring.Descriptor()),
		bpf.Move(bpf.R2, bpf.R10),
		bpf.ComputeBy(bpf.Add, bpf.R2, -recordSize),
		bpf.Set32(bpf.R3, recordSize),
		bpf.Set32(bpf.R4, forceWakeup),
		bpf.Call(bpf.HelperRingOutput),
	}
}

// TellUser is the block that tells the function of Run of the number in R1: see Tell.
func (n *News) TellUser() []bpf.Instruction { return n.Tell(newsUser) }

// Run passes news on until ctx is done, and returns its error then. One goroutine may run it at a time; in Go's poller
// it costs no thread. told, unless it is nil, is called with what TellUser told.
func (n *News) Run(ctx context.Context, told func(number uint64)) error {
	record := make([]byte, recordSize)
	for {
		got, err := n.ring.Read(ctx, record)
		if err != nil {
			return fmt.Errorf("news of heap %q: %w", n.heap.Name(), err)
		}
		if got != recordSize {
			continue // of a program of somebody else's making
		}
		number := binary.LittleEndian.Uint64(record[8:])
		switch binary.LittleEndian.Uint64(record) {
		case newsWake:
			n.wake(number)
		case newsDeath:
			_ = n.heap.Nudge() // a closed heap is watched by nobody
		case newsUser:
			if told != nil {
				told(number)
			}
		}
	}
}

func (n *News) wake(offset uint64) {
	const everybody = 1 << 30
	if m := n.heap.Memory(); offset%4 == 0 && m.Contains(offset, 4) {
		_, _ = sys.Wake(m.Half(offset), everybody) // nobody sleeps at a word that is not there
	}
}

// Close gives the news up. Run must have returned.
func (n *News) Close() error { return errors.Join(n.ring.Close()) }
