package kmod

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/shmheap/shmheap/internal/mem"
)

// streamInMemory is a stream of two processors, 8 slots of 64 bytes each, and the kernel's side of it.
type streamInMemory struct{ memory mem.Memory }

const (
	testCPUs   = 2
	testSlots  = 8
	testStride = 128 + 64*testSlots
	testRings  = 64
)

// newStreamInMemory lays it out. The words are Go's, so that the race detector sees them.
func newStreamInMemory() *streamInMemory {
	s := &streamInMemory{mem.Over(make([]byte, testRings+testCPUs*testStride))}
	*mem.View[streamHeader](s.memory, 0) = streamHeader{
		Magic: streamMagic, Version: Version, CPUs: testCPUs, Slot: 64, Order: 3, Rings: testRings, Stride: testStride, Slots: 128,
		Bytes: s.memory.Size(),
	}
	return s
}

func (s *streamInMemory) head(cpu int) *mem.Word {
	return s.memory.Word(testRings + uint64(cpu)*testStride)
}

func (s *streamInMemory) slot(cpu int, n uint64) uint64 {
	return testRings + uint64(cpu)*testStride + 128 + n%testSlots*64
}

// begin takes the next number and leaves the record open.
func (s *streamInMemory) begin(cpu int) uint64 {
	n := s.head(cpu).Add(1) - 1
	s.memory.Word(s.slot(cpu, n)).Swap(0)
	return n
}

// end completes a record whose words are all its number.
func (s *streamInMemory) end(cpu int, n uint64, bytes int) {
	at := s.slot(cpu, n)
	s.memory.Word(at + 8).StoreRelease(n + 100)
	s.memory.Word(at + 16).StoreRelease(uint64(bytes) | 7<<16 | uint64(cpu)<<32)
	for off := uint64(recordHeader); off < 64; off += 8 {
		s.memory.Word(at + off).StoreRelease(n)
	}
	s.memory.Word(at).StoreRelease(n + 1)
}

func (s *streamInMemory) write(cpu int, records int) {
	for range records {
		s.end(cpu, s.begin(cpu), 40)
	}
}

func (s *streamInMemory) reader(t *testing.T, oldest bool) *rings {
	t.Helper()
	r, err := newRings(s.memory, oldest)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantNumbers reads all that there is, and requires the numbers of a processor's records, and how many others are missing.
func wantNumbers(t *testing.T, r *rings, cpu int, lost uint64, numbers ...uint64) {
	t.Helper()
	var missing uint64
	for {
		rec, found, err := r.next()
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			break
		}
		missing += rec.Lost
		if rec.Lost != 0 {
			continue
		}
		if len(numbers) == 0 || rec.Seq != numbers[0] || rec.CPU != cpu || rec.Type != 7 || uint64(rec.Time) != rec.Seq+100 {
			t.Fatalf("record %+v, want one of %v", rec, numbers)
		}
		for off := 0; off < len(rec.Data); off += 8 {
			if got := binary.NativeEndian.Uint64(rec.Data[off:]); got != rec.Seq {
				t.Fatalf("record %d has %d in it", rec.Seq, got)
			}
		}
		numbers = numbers[1:]
	}
	if len(numbers) != 0 || missing != lost {
		t.Fatalf("%v did not come, %d are missing, want %d", numbers, missing, lost)
	}
}

func TestRings(t *testing.T) {
	s := newStreamInMemory()
	s.write(1, 3)
	late, old := s.reader(t, false), s.reader(t, true)
	wantNumbers(t, late, 1, 0)
	wantNumbers(t, old, 1, 0, 0, 1, 2)
	s.write(1, 2)
	wantNumbers(t, late, 1, 0, 3, 4)
	wantNumbers(t, old, 1, 0, 3, 4)
	s.write(1, testSlots)
	wantNumbers(t, late, 1, 0, 5, 6, 7, 8, 9, 10, 11, 12)
	s.write(1, testSlots+1) // 13 to 21: half a ring besides is left behind
	wantNumbers(t, late, 1, 5, 18, 19, 20, 21)
	wantNumbers(t, s.reader(t, true), 1, 18, 18, 19, 20, 21)
	s.memory.Word(testRings + 8).Add(3)
	wantNumbers(t, late, 0, 3)
}

// TestRingsUnfinished: a record that is being written holds up those behind it, on its processor alone.
func TestRingsUnfinished(t *testing.T) {
	s := newStreamInMemory()
	r := s.reader(t, false)
	n := s.begin(0)
	s.write(0, 2)
	s.write(1, 1)
	wantNumbers(t, r, 1, 0, 0)
	s.write(1, 1)
	wantNumbers(t, r, 1, 0, 1)
	s.end(0, n, 8)
	wantNumbers(t, r, 0, 0, 0, 1, 2)
	s.write(0, testSlots)
	if rec, _, err := r.next(); err != nil || rec.Seq != 3 {
		t.Fatalf("%+v, %v", rec, err)
	}
	s.begin(0) // over record 3, which has been read
	s.begin(0) // over record 4, which has not
	wantNumbers(t, r, 0, 5, 9, 10)
}

// TestRingsTakeTurns: a ring that is written as fast as it is read does not keep the other from being read.
func TestRingsTakeTurns(t *testing.T) {
	s := newStreamInMemory()
	r := s.reader(t, false)
	s.write(0, 1)
	s.write(1, 1)
	for range 3 * testSlots {
		rec, found, err := r.next()
		if err != nil || !found {
			t.Fatal(found, err)
		}
		if rec.CPU == 1 {
			return
		}
		s.write(0, 1)
	}
	t.Error("never")
}

// TestRingsSeen: the kernel is told once of each change.
func TestRingsSeen(t *testing.T) {
	s := newStreamInMemory()
	r := s.reader(t, false)
	b := make([]byte, testCPUs*ringHeader)
	if r.seen(b) {
		t.Error("news at the beginning")
	}
	s.write(1, 2)
	wantNumbers(t, r, 1, 0, 0, 1)
	if !r.seen(b) || r.seen(b) || binary.NativeEndian.Uint64(b[ringHeader:]) != 2 {
		t.Errorf("% x", b)
	}
}

// TestRingsBeside: a writer overwrites as fast as it can. Records come whole and in order, and with those that are lost
// they are as many as were written.
func TestRingsBeside(t *testing.T) {
	const total = 50_000
	s := newStreamInMemory()
	r := s.reader(t, false)
	go func() {
		for n := range total {
			s.write(0, 1)
			if n%16 == 0 {
				runtime.Gosched()
			}
		}
	}()
	sum, read := uint64(0), 0
	for sum < total {
		rec, found, err := r.next()
		switch {
		case err != nil:
			t.Fatal(err)
		case !found:
			runtime.Gosched()
			continue
		case rec.Lost != 0:
			sum += rec.Lost
			continue
		}
		if rec.Seq != sum || uint64(rec.Time) != rec.Seq+100 {
			t.Fatalf("record %+v, want number %d", rec, sum)
		}
		for off := 0; off < len(rec.Data); off += 8 {
			if got := binary.NativeEndian.Uint64(rec.Data[off:]); got != rec.Seq {
				t.Fatalf("record %d has %d in it", rec.Seq, got)
			}
		}
		sum++
		read++
	}
	if sum != total || read == 0 {
		t.Errorf("%d records and losses, %d records", sum, read)
	}
}

// TestRingsLayout: no beginning leads out of the memory.
func TestRingsLayout(t *testing.T) {
	for name, change := range map[string]func(*streamHeader){
		"magic": func(h *streamHeader) { h.Magic++ }, "version": func(h *streamHeader) { h.Version++ },
		"no ring": func(h *streamHeader) { h.CPUs = 0 }, "a ring more": func(h *streamHeader) { h.CPUs++ },
		"many rings": func(h *streamHeader) { h.CPUs = 1<<32 - 1 },
		"slot":       func(h *streamHeader) { h.Slot = 65 }, "small slot": func(h *streamHeader) { h.Slot = 32 }, "large slot": func(h *streamHeader) { h.Slot = 128 },
		"order": func(h *streamHeader) { h.Order = 4 }, "no order": func(h *streamHeader) { h.Order = 0 }, "large order": func(h *streamHeader) { h.Order = 64 },
		"rings": func(h *streamHeader) { h.Rings++ }, "rings in the header": func(h *streamHeader) { h.Rings = 8 }, "far rings": func(h *streamHeader) { h.Rings = -h.Stride },
		"stride": func(h *streamHeader) { h.Stride-- }, "no stride": func(h *streamHeader) { h.Stride = 0 }, "far stride": func(h *streamHeader) { h.Stride = 1 << 63 },
		"slots": func(h *streamHeader) { h.Slots = 8 }, "odd slots": func(h *streamHeader) { h.Slots++ }, "far slots": func(h *streamHeader) { h.Slots = 1<<64 - 8 },
	} {
		s := newStreamInMemory()
		change(mem.View[streamHeader](s.memory, 0))
		if _, err := newRings(s.memory, true); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := newRings(mem.Over(make([]byte, 48)), true); !errors.Is(err, ErrCorrupt) {
		t.Errorf("short: %v", err)
	}
}

// FuzzRings: whatever is in the rings, a reader comes to an end and reads nothing outside of them.
func FuzzRings(f *testing.F) {
	f.Add(uint64(1), uint64(8))
	f.Fuzz(func(t *testing.T, seed, words uint64) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := newStreamInMemory()
		s.write(0, 3)
		r := s.reader(t, true)
		for range words % 64 {
			v := random.Uint64()
			if random.IntN(2) == 0 {
				v >>= random.IntN(64)
			}
			s.memory.Word(testRings + 8*random.Uint64N((s.memory.Size()-testRings)/8)).Swap(v)
			for range testCPUs * 2 * testSlots {
				rec, found, err := r.next()
				if err != nil && !errors.Is(err, ErrCorrupt) {
					t.Fatal(err)
				}
				if len(rec.Data) > 40 {
					t.Fatalf("%d bytes in a slot of 64", len(rec.Data))
				}
				if !found {
					break
				}
			}
		}
	})
}
