package inside

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/kmod"
)

// blocksIn returns how many blocks are in use.
func blocksIn(a *alloc.Allocator) (int, error) {
	s, err := a.Stats()
	return int(s.Live), err
}

func controlled(t *testing.T, o *kmod.InstanceOptions) *kmod.Instance {
	t.Helper()
	i := must[*kmod.Instance](t)(device(t).Create(newName(), o))
	t.Cleanup(func() { i.Close() })
	partner(t, i.Name())
	return i
}

// TestControl: one store, and the kernel knows.
func TestControl(t *testing.T) {
	i := controlled(t, nil)
	ask, answer := must[kmod.Word](t)(i.Control(wordAsk)), must[kmod.Word](t)(i.Control(wordAnswer))
	for n := range uint64(100) {
		ask.Store(n * n)
		eventually(t, "the kernel has seen it", func() bool { return answer.Load() == n*n })
	}
	for _, n := range []int{-1, kmod.ControlWords} {
		if _, err := i.Control(n); !errors.Is(err, kmod.ErrOptions) {
			t.Errorf("word %d: %v", n, err)
		}
	}
	if last := must[kmod.Word](t)(i.Control(kmod.ControlWords - 1)); last.Load() != 0 || last.Add(5) != 5 {
		t.Error("the last word is not 0 at first")
	}
}

// TestGroup: the kernel never sees half of a change.
func TestGroup(t *testing.T) {
	i := controlled(t, nil)
	g := must[*kmod.Group](t)(i.Group(wordSeq, wordGroup, groupWords))
	read, torn := must[kmod.Word](t)(i.Control(wordRead)), must[kmod.Word](t)(i.Control(wordTorn))
	begin := read.Load()
	for n := uint64(0); read.Load() < begin+200; n++ {
		if err := g.Store(n, n, n, n); err != nil {
			t.Fatal(err)
		}
		if n%64 == 0 {
			time.Sleep(100 * time.Microsecond) // the timer needs a moment in which nothing changes
		}
	}
	if torn.Load() != 0 {
		t.Errorf("%d of %d reads were of no one change", torn.Load(), read.Load())
	}
	words := must[kmod.Word](t)(i.Control(wordGroup))
	words.Store(^uint64(0)) // without the sequence: it must be noticed
	eventually(t, "a torn group is noticed", func() bool { return torn.Load() != 0 })
}

// TestStream: all records come, in order, or are counted as lost.
func TestStream(t *testing.T) {
	i := controlled(t, &kmod.InstanceOptions{StreamOrder: 6})
	s := must[*kmod.Stream](t)(i.Stream(nil))
	defer closeAll(t, s)
	records := must[kmod.Word](t)(i.Control(wordRecords))
	records.Store(20)
	sum, next := uint64(0), map[int]uint64{}
	ctx := patient(t)
	for r, err := range s.Records(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		sum += max(r.Lost, 1)
		if r.Lost == 0 && (r.Type != 7 || len(r.Data) != 8 || r.Seq < next[r.CPU] || r.Time <= 0) {
			t.Fatalf("record %+v, number %d or later expected", r, next[r.CPU])
		}
		if r.Lost == 0 {
			next[r.CPU] = r.Seq + 1
		}
		if sum > 3000 {
			break
		}
	}
	records.Store(0)
	drain(t, s, func(r kmod.Record) { sum += max(r.Lost, 1) })
	written := must[kmod.Word](t)(i.Control(wordWritten))
	if got := written.Load(); got != sum {
		t.Errorf("%d records and losses, %d written", sum, got)
	}
}

// drain reads what there is until nothing comes for a while.
func drain(t *testing.T, s *kmod.Stream, each func(kmod.Record)) {
	t.Helper()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		r, err := s.Next(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		each(r)
	}
}

// TestStreamLoses: a reader that is too slow is told how many it has lost.
func TestStreamLoses(t *testing.T) {
	i := controlled(t, &kmod.InstanceOptions{StreamOrder: 4})
	s := must[*kmod.Stream](t)(i.Stream(nil))
	defer closeAll(t, s)
	records, written := must[kmod.Word](t)(i.Control(wordRecords)), must[kmod.Word](t)(i.Control(wordWritten))
	records.Store(50)
	eventually(t, "more are written than fit", func() bool { return written.Load() > 2000 })
	records.Store(0)
	sum, last := uint64(0), uint64(0)
	drain(t, s, func(r kmod.Record) {
		sum += max(r.Lost, 1)
		if r.Lost == 0 {
			last = max(last, binary.NativeEndian.Uint64(r.Data))
		}
	})
	if s.Lost() == 0 || sum != written.Load() || last != written.Load()-1 {
		t.Errorf("%d lost, %d with those read, %d written, the last is %d", s.Lost(), sum, written.Load(), last)
	}
	late := must[*kmod.Stream](t)(i.Stream(&kmod.StreamOptions{Oldest: true}))
	defer closeAll(t, late)
	n := 0
	drain(t, late, func(r kmod.Record) {
		if r.Lost == 0 {
			n++
		}
	})
	if n == 0 || n > 16*os.Getpagesize() {
		t.Errorf("%d old records", n)
	}
}

func TestNoStream(t *testing.T) {
	i := must[*kmod.Instance](t)(device(t).Create(newName(), nil))
	defer i.Close()
	if _, err := i.Stream(nil); !errors.Is(err, kmod.ErrNotConnected) {
		t.Errorf("%v", err)
	}
}
