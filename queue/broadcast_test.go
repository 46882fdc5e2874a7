package queue

import (
	"errors"
	"sync"
	"testing"
	"time"
)

func newBroadcast(t testing.TB, m *member, o *BroadcastOptions) *Broadcast {
	t.Helper()
	h, err := o.header()
	if err != nil {
		t.Fatal(err)
	}
	off := m.room(h.Size)
	h.write(m.memory, off)
	b, err := viewBroadcast(m, off)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustWriter(t testing.TB, b *Broadcast) *Writer {
	t.Helper()
	w, err := b.Writer()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestBroadcast: a reader that keeps up gets every record, one that does not is told how many it lost.
func TestBroadcast(t *testing.T) {
	b := newBroadcast(t, newGoRegion(t, testSize).join(), &BroadcastOptions{Capacity: 8, Words: 3})
	w, fast, slow := mustWriter(t, b), b.Reader(), b.Reader()
	var record [3]uint64
	_, err := fast.TryRead(record[:])
	wantErr(t, "read", err, ErrEmpty)
	wantErr(t, "write too much", w.Write(1, 2, 3, 4), ErrOptions)
	for n := range uint64(100) {
		if err := w.Write(n, n*n); err != nil {
			t.Fatal(err)
		}
		lost, err := fast.TryRead(record[:])
		if lost != 0 || err != nil || record != [3]uint64{n, n * n, 0} {
			t.Fatalf("record %d: %v, lost %d, %v", n, record, lost, err)
		}
	}
	lost, err := slow.TryRead(record[:1])
	if lost < 92 || lost > 99 || err != nil || record[0] != lost {
		t.Errorf("lost %d, first record %d, %v", lost, record[0], err)
	}
	rest := uint64(0)
	for ; err == nil; rest++ {
		_, err = slow.TryRead(record[:])
	}
	if lost+rest != 100 || slow.Pending() != 0 || b.Written() != 100 {
		t.Errorf("lost %d, read %d, %d pending", lost, rest, slow.Pending())
	}
}

// TestBroadcastConcurrent: every reader's records and losses add up, and records are whole.
func TestBroadcastConcurrent(t *testing.T) {
	b := newBroadcast(t, newGoRegion(t, testSize).join(), &BroadcastOptions{Capacity: 64, Words: 5})
	const records = 30_000
	w := mustWriter(t, b)
	var group sync.WaitGroup
	for range 3 {
		r := b.Reader()
		group.Go(func() {
			var total uint64
			for total < records {
				var record [5]uint64
				lost, err := r.Read(t.Context(), record[:])
				total += lost + 1
				if err != nil || record != [5]uint64{total - 1, total, total + 1, total + 2, 0} {
					t.Errorf("record %d is %v, lost %d, %v", total, record, lost, err)
					return
				}
			}
		})
	}
	for n := range uint64(records) {
		if err := w.Write(n, n+1, n+2, n+3); err != nil {
			t.Fatal(err)
		}
		if n%1000 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	group.Wait()
}

// TestBroadcastWriterDies: in each half of a write. The next writer goes on, readers see whole records.
func TestBroadcastWriterDies(t *testing.T) {
	r := newGoRegion(t, testSize)
	here, there := r.join(), r.join()
	b := newBroadcast(t, here, &BroadcastOptions{Capacity: 4, Words: 1})
	far, err := viewBroadcast(there, b.q.off)
	if err != nil {
		t.Fatal(err)
	}
	w, reader := mustWriter(t, far), b.Reader()
	_, err = b.Writer()
	wantErr(t, "a second writer", err, ErrTaken)
	for n := range uint64(5) {
		w.Write(n)
	}
	b.slot(5)[0].Swap(0) // dies in the middle of record 5
	b.slot(5)[1].Swap(77)
	there.die()
	next := mustWriter(t, b)
	next.Write(5)
	b.slot(6)[1].Swap(6)
	b.slot(6)[0].Swap(7) // dies behind the sequence of record 6
	next.Close()
	wantErr(t, "write", next.Write(1), ErrDetached)
	last := mustWriter(t, b)
	last.Write(7)
	var record [1]uint64
	total := uint64(0)
	for {
		lost, err := reader.TryRead(record[:])
		if errors.Is(err, ErrEmpty) {
			break
		}
		if total += lost + 1; err != nil || record[0] != total-1 {
			t.Fatalf("record %d is %d, %v", total-1, record[0], err)
		}
	}
	if total != 8 {
		t.Errorf("%d records", total)
	}
}

// TestBroadcastHostile: a sequence that nobody wrote is an error, not a place to go to.
func TestBroadcastHostile(t *testing.T) {
	b := newBroadcast(t, newGoRegion(t, testSize).join(), nil)
	r := b.Reader()
	for _, sequence := range []uint64{1 << 62, 1 + 1024, 2, 1 << 63} {
		b.slot(0)[0].Swap(sequence)
		_, err := r.TryRead(nil)
		if err == nil || r.at != 0 {
			t.Errorf("sequence %#x: %v, at %d", sequence, err, r.at)
		}
	}
}

// TestBroadcastOfTheStopped: a reader whose next record is being overwritten, for ever by a writer that died, goes on with
// those that are there.
func TestBroadcastOfTheStopped(t *testing.T) {
	m := newGoRegion(t, testSize).join()
	b := newBroadcast(t, m, &BroadcastOptions{Capacity: 8})
	w := mustWriter(t, b)
	r := b.Reader()
	for n := range uint64(8) {
		wantErr(t, "write", w.Write(n), nil)
	}
	b.slot(8)[0].StoreRelease(0) // begins with the ninth
	var record [1]uint64
	lost, err := r.TryRead(record[:])
	if err != nil || lost == 0 || lost > 7 || record[0] != lost {
		t.Fatalf("lost %d, read %d, %v", lost, record[0], err)
	}
	read := uint64(1)
	for err == nil {
		if _, err = r.TryRead(record[:]); err == nil {
			read++
		}
	}
	wantErr(t, "read", err, ErrEmpty)
	if lost+read != 8 {
		t.Errorf("lost %d and read %d of 8", lost, read)
	}
	b.slot(0)[0].StoreRelease(0) // by a hostile one, who says besides that it has been written
	fresh := &Reader{ring: b}
	b.q.head.Tail.Swap(2)
	_, err = fresh.TryRead(record[:])
	wantErr(t, "read what a hostile one wrote", err, ErrEmpty)
	b.q.head.Tail.Swap(1 << 40)
	_, err = r.TryRead(record[:])
	wantErr(t, "read", err, ErrEmpty)
	b.q.head.Tail.Swap(8)
	w.Write(8)
	if _, err = r.TryRead(record[:]); err != nil || record[0] != 8 {
		t.Errorf("read %d, %v", record[0], err)
	}
}
