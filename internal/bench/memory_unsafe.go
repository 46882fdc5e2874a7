package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/sys"
)

// Memory is what the allocator needs beside the blocks.
type Memory struct {
	Small  Tables     // blocks of 64 bytes
	Medium Tables     // of 1 KiB
	Mixed  []Steady   // for each of steadyLives
	Beside []Resident // others in the same
	Drain  Drain
}

// Tables is the cost of keeping books, in bytes.
type Tables struct {
	Live   uint64 // in blocks
	Tables uint64 // committed for tables
	Fixed  uint64 // of those, what an empty heap has already
}

// Overhead returns the share of the tables.
func (t *Tables) Overhead() float64 { return float64(t.Tables) / float64(t.Live) }

// Steady is the steady state of the mixed workload, in bytes: means over the time, but for the peak.
type Steady struct {
	Live      uint64 // blocks
	Requested uint64 // what the program asked for
	Peak      uint64 // the most that it ever had of that
	Rounded   uint64 // the same in size classes and granules
	Committed uint64 // what has storage: the rounded, and
	InSlabs   uint64 // free blocks of slabs
	Tables    uint64 // the books
	Kept      uint64 // free granules, and the ends of slabs that hold no block
}

// PerRounded and PerRequested compare what has storage with what is in use.
func (s *Steady) PerRounded() float64 { return float64(s.Committed) / float64(s.Rounded) }

// PerRequested is the stricter of the two.
func (s *Steady) PerRequested() float64 { return float64(s.Committed) / float64(s.Requested) }

// Resident is what another subject has in memory in the same steady state, every page of each block written, as the
// system counts it.
type Resident struct {
	Subject         string
	Live            uint64 // blocks
	Requested, Peak uint64 // see Steady
	Resident        uint64 // mean
	Why             string // it was not measured, "" if it was
}

// PerRequested compares what is in memory with what was asked for.
func (r *Resident) PerRequested() float64 { return float64(r.Resident) / float64(r.Requested) }

// Drain is the storage of the heap's file, in bytes, as the system counts it.
type Drain struct {
	Empty, Full, Freed, Trimmed uint64 // at first, with all blocks, with none, and after Trim
}

// Returned is the share of what was taken that has gone back.
func (d *Drain) Returned() float64 {
	return 1 - (float64(d.Trimmed)-float64(d.Empty))/(float64(d.Full)-float64(d.Empty))
}

// measureMemory takes a heap of its own for each.
func (s *session) measureMemory(ctx context.Context) (*Memory, error) {
	m := new(Memory)
	for _, step := range []func(*yard) error{
		func(y *yard) (err error) { m.Small, err = y.tables(64); return },
		func(y *yard) (err error) { m.Medium, err = y.tables(1024); return },
		func(y *yard) (err error) { m.Drain, err = y.drain(); return },
	} {
		if err := s.inYard(ctx, step); err != nil {
			return nil, fmt.Errorf("measure memory: %w", err)
		}
	}
	for _, live := range steadyLives {
		if err := s.measureSteady(ctx, m, live); err != nil {
			return nil, fmt.Errorf("measure memory of %d mixed blocks: %w", live, err)
		}
	}
	return m, nil
}

// inYard does something in a heap of its own.
func (s *session) inYard(ctx context.Context, do func(*yard) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	y, err := s.newYard()
	if err != nil {
		return err
	}
	return errors.Join(do(y), y.close())
}

// measureSteady measures us and every peer that has a program.
func (s *session) measureSteady(ctx context.Context, m *Memory, live uint64) error {
	err := s.inYard(ctx, func(y *yard) error {
		mixed, err := y.steady(live)
		m.Mixed = append(m.Mixed, mixed)
		return err
	})
	for i := 0; s.Peers && err == nil && i < len(subjects); i++ {
		if x := &subjects[i]; x.source != "" {
			err = s.measureResident(ctx, m, x, live)
		}
	}
	return err
}

func (s *session) measureResident(ctx context.Context, m *Memory, x *Subject, live uint64) error {
	beside := Resident{Subject: x.Name, Live: live, Why: s.missing(x)}
	if beside.Why == "" {
		o, err := s.do(ctx, &Job{Subject: x.Name, Loop: fmt.Sprint(loopSteady, live), Sizes: sizesMixed, Workers: 1, CPUs: s.cpus})
		if err != nil {
			return err
		}
		beside.Requested, beside.Peak, beside.Resident = o.steady.Requested, o.steady.Peak, o.steady.Resident
	}
	m.Beside = append(m.Beside, beside)
	return nil
}

// How many bytes of blocks the measurements of memory make. Tables grow in steps, of which there must be
// some.
const (
	tablesFilling = 256 << 20
	drainFilling  = 64 << 20
)

func (y *yard) tables(size uint64) (t Tables, err error) {
	t.Fixed = y.committedTables()
	for ; t.Live < tablesFilling; t.Live += size {
		if _, err := y.cache.Alloc(size); err != nil {
			return t, err
		}
	}
	t.Tables = y.committedTables()
	return t, nil
}

// committedTables counts the granules in front of the data that have storage.
func (y *yard) committedTables() (bytes uint64) {
	g := y.heap.Geometry()
	for i := range g.FirstGranule() {
		if y.heap.IsCommitted(i << layout.GranuleShift) {
			bytes += layout.GranuleSize
		}
	}
	return bytes
}

// Of the steady state: how many live blocks, how many of them are replaced, and how many of those replacements come
// before the first look and between two. peers/loops.h has the same.
const (
	steadySteps = 100_000
	steadyFirst = 20_000
	steadyEach  = 1000
)

var steadyLives = []uint64{2048, 16384}

// steady replaces blocks and looks at the heap every now and then.
func (y *yard) steady(live uint64) (s Steady, err error) {
	sizes, err := newSizes(sizesMixed, 1)
	if err != nil {
		return s, err
	}
	r := run{rng: 1}
	blocks, bytes := make([]unsafe.Pointer, live), make([]uint64, live)
	requested, looks := uint64(0), uint64(0)
	for n := range live + steadySteps {
		k := n
		if n >= live {
			k = r.random() >> 20 % live
			if err := y.cache.Free(blocks[k]); err != nil {
				return s, err
			}
			requested -= bytes[k]
		}
		bytes[k] = uint64(sizes[n&sizeMask])
		if blocks[k], err = y.cache.Alloc(bytes[k]); err != nil {
			return s, err
		}
		requested += bytes[k]
		s.Peak = max(s.Peak, requested)
		if n >= live+steadyFirst && (n-live)%steadyEach == 0 {
			looks++
			s.Requested += requested
			if err := y.look(&s); err != nil {
				return s, err
			}
		}
	}
	return s.over(live, looks), nil
}

// look adds what the heap says to the sums.
func (y *yard) look(s *Steady) error {
	stats, err := y.alloc.Stats()
	for _, c := range stats.Classes {
		s.InSlabs += c.Free * c.Size
	}
	s.Rounded, s.Committed, s.Tables = s.Rounded+stats.LiveBytes, s.Committed+stats.Committed, s.Tables+y.committedTables()
	return err
}

// over makes means of the sums.
func (s *Steady) over(live, looks uint64) Steady {
	return Steady{
		Live: live, Peak: s.Peak, Requested: s.Requested / looks, Rounded: s.Rounded / looks, Committed: s.Committed / looks,
		InSlabs: s.InSlabs / looks, Tables: s.Tables / looks, Kept: (s.Committed - s.Rounded - s.InSlabs - s.Tables) / looks,
	}
}

func (y *yard) drain() (d Drain, err error) {
	if d.Empty, err = y.storage(); err != nil {
		return d, err
	}
	var blocks []unsafe.Pointer
	for range drainFilling / 1024 {
		p, err := y.cache.Alloc(1024)
		if err != nil {
			return d, err
		}
		blocks = append(blocks, p)
	}
	if d.Full, err = y.storage(); err != nil {
		return d, err
	}
	for _, p := range blocks {
		if err := y.cache.Free(p); err != nil {
			return d, err
		}
	}
	if d.Freed, err = y.storage(); err != nil {
		return d, err
	}
	if err := y.cache.Close(); err != nil {
		return d, err
	}
	if _, err := y.alloc.Trim(); err != nil {
		return d, err
	}
	d.Trimmed, err = y.storage()
	return d, err
}

// storage asks the system how much the heap's file takes.
func (y *yard) storage() (uint64, error) {
	f, err := os.Open(y.heap.Path())
	if err != nil {
		return 0, err
	}
	info, err := sys.Stat(f)
	return uint64(info.Allocated), errors.Join(err, f.Close())
}

// yard is a fresh heap, with an allocator and a cache.
type yard struct {
	name  string
	opts  heap.Options
	heap  *heap.Heap
	alloc *alloc.Allocator
	cache *alloc.Cache
}
