//go:build (amd64 || arm64) && !crashpoint && !shmheap_portable

package crash

import (
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/queue"
)

// A broadcast ring, a large block that no slab has to be kept for. It has records of seven words, of which each
// of record n is n + 1. The operation writes number ringBefore, over one that is there.
const (
	ringName   = "ring"
	ringSlot   = 453
	ringSlots  = 1024
	ringWords  = 7
	ringBefore = ringSlots + 3
	slotsField = 32 // of the queue's header: doc/format.md
)

// makesRing makes a ring that has been around.
func makesRing(p *party) error {
	ring, err := queue.OpenBroadcast(p.alloc, ringName, &queue.BroadcastOptions{Capacity: ringSlots, Words: ringWords})
	if err != nil {
		return err
	}
	r, err := p.heap.LoadRoot(ringName)
	if err != nil {
		return err
	}
	p.ledger.slots[ringSlot].block = p.heap.Memory().Pointer(r.Offset)
	if p.writer, err = ring.Writer(); err != nil {
		return err
	}
	for range ringBefore {
		if err := writesRecord(p); err != nil {
			return err
		}
	}
	return p.writer.Close()
}

func opensWriter(p *party) error {
	ring, err := queue.OpenBroadcast(p.alloc, ringName, nil)
	if err == nil {
		p.written = ring.Written()
		p.writer, err = ring.Writer()
	}
	return err
}

// writesRecord writes the next record.
func writesRecord(p *party) error {
	p.written++
	n := p.written
	return p.writer.Write(n, n, n, n, n, n, n)
}

// settleRing wants each record to be whole or not there, and the next writer to go on where this one stopped.
func (p *party) settleRing() error {
	r, err := p.heap.LoadRoot(ringName)
	if errors.Is(err, heap.ErrNoRoot) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := p.wholeRecords(r.Offset); err != nil {
		return err
	}
	ring, err := queue.OpenBroadcast(p.alloc, ringName, nil)
	if err != nil {
		return err
	}
	if err := opensWriter(p); err != nil {
		return err
	}
	if p.written = ring.Written(); p.written != ringBefore && p.written != ringBefore+1 {
		return fmt.Errorf("%d records are said to be there", p.written)
	}
	reader, record := ring.Reader(), make([]uint64, ringWords)
	for range 4 {
		if err := writesRecord(p); err != nil {
			return err
		}
		if lost, err := reader.TryRead(record); err != nil || lost != 0 || record[0] != p.written || record[ringWords-1] != p.written {
			return fmt.Errorf("record %d is %d, %d lost: %w", p.written, record, lost, err)
		}
	}
	return p.writer.Close()
}

func (p *party) wholeRecords(ring uint64) error {
	m := p.heap.Memory()
	slots := ring + m.Word(ring+slotsField).Load()
	for i := range uint64(ringSlots) {
		slot := slots + i*(ringWords+1)*8
		sequence := m.Word(slot).Load()
		for w := uint64(1); w <= ringWords && sequence != 0; w++ {
			if v := m.Word(slot + w*8).Load(); v != sequence {
				return fmt.Errorf("word %d of record %d is %d", w, sequence-1, v)
			}
		}
	}
	return nil
}
