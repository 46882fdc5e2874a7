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
	Small  Tables // blocks of 64 bytes
	Medium Tables // of 1 KiB
	Mixed  Steady
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

// Steady is the steady state of the mixed workload, in bytes.
type Steady struct {
	Requested uint64 // what the program asked for
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
		func(y *yard) (err error) { m.Mixed, err = y.steady(); return },
		func(y *yard) (err error) { m.Drain, err = y.drain(); return },
	} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		y, err := s.newYard()
		if err != nil {
			return nil, err
		}
		if err := errors.Join(step(y), y.close()); err != nil {
			return nil, fmt.Errorf("measure memory: %w", err)
		}
	}
	return m, nil
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

func (y *yard) steady() (s Steady, err error) {
	const live, steps = 2048, 100_000
	sizes, err := newSizes(sizesMixed, 1)
	if err != nil {
		return s, err
	}
	r := run{rng: 1}
	var blocks [live]unsafe.Pointer
	var bytes [live]uint64
	for n := range uint64(live + steps) {
		k := n
		if n >= live {
			k = r.random() >> 20 % live
			if err := y.cache.Free(blocks[k]); err != nil {
				return s, err
			}
		}
		bytes[k] = uint64(sizes[n&sizeMask])
		if blocks[k], err = y.cache.Alloc(bytes[k]); err != nil {
			return s, err
		}
	}
	for _, n := range bytes {
		s.Requested += n
	}
	stats, err := y.alloc.Stats()
	for _, c := range stats.Classes {
		s.InSlabs += c.Free * c.Size
	}
	s.Rounded, s.Committed, s.Tables = stats.LiveBytes, stats.Committed, y.committedTables()
	s.Kept = s.Committed - s.Rounded - s.InSlabs - s.Tables
	return s, err
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
