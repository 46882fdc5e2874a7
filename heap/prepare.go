package heap

import (
	"context"
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/sys"
)

// PrepareOptions say what Prepare does to the parts of the region that have storage. The zero value makes page table
// entries alone, and nil stands for it.
type PrepareOptions struct {
	Offset uint64 // where to begin, 0 for the begin of the region
	Size   uint64 // bytes, 0 for all that follow
	// Huge puts the content into huge pages: Linux 6.1, tmpfs. Where only part of a huge page
	// has storage, it has small ones still.
	Huge bool
	// Lock keeps the pages in memory until this process closes the heap; RLIMIT_MEMLOCK bounds how many.
	Lock bool
	// Progress is called from time to time with the bytes that have been looked at and those that are to be.
	Progress func(done, total uint64)
}

// Prepared is what Prepare has done.
type Prepared struct {
	Present uint64 // bytes that this process can touch without a fault
	Huge    uint64 // bytes put into huge pages
	Small   uint64 // bytes that could not be: they fill no huge page, or the kernel found none
	Locked  uint64 // bytes that stay in memory
}

// prepareStep is how much is done at a time, between two looks at the context.
const prepareStep = 32 << 20

// hugePage is the huge page of x86_64 and of others with pages of 4 KiB, and a multiple of what others use for shared
// memory. The base of a heap is a multiple, where Create chose it.
const hugePage = 2 << 20

// Prepare makes what has storage ready to be used by this process, so that first touches do not cost a
// fault each, about half a microsecond and 4 KiB at a time. It is for the begin of a program, and changes
// nothing that others see but which pages back the heap; it may run while peers work, and what they commit or
// give back meanwhile is done or not. It returns the error of ctx, errors.ErrUnsupported for Huge where the system
// cannot do that at all, and the system's for Lock, as syscall.ENOMEM when the limit is too small. What has
// been done until then stays.
func (h *Heap) Prepare(ctx context.Context, opts *PrepareOptions) (Prepared, error) {
	var o PrepareOptions
	if opts != nil {
		o = *opts
	}
	p := preparation{h: h, o: o}
	if err := p.run(ctx); err != nil {
		return p.done, fmt.Errorf("prepare heap %q: %w", h.geometry.name, err)
	}
	return p.done, nil
}

type preparation struct {
	h    *Heap
	o    PrepareOptions
	done Prepared
}

func (p *preparation) run(ctx context.Context) error {
	rest := p.h.geometry.Size - min(p.o.Offset, p.h.geometry.Size)
	if p.o.Size == 0 {
		p.o.Size = rest
	}
	if (p.o.Offset|p.o.Size)%layout.GranuleSize != 0 || p.o.Size == 0 || p.o.Size > rest {
		return fmt.Errorf("%d bytes at offset %#x: %w", p.o.Size, p.o.Offset, ErrOffset)
	}
	for at := uint64(0); at < p.o.Size; at += prepareStep {
		if err := ctx.Err(); err != nil {
			return err
		}
		begin := p.o.Offset + at
		if err := p.step(begin, min(begin+prepareStep, p.o.Offset+p.o.Size)); err != nil {
			return err
		}
		if p.o.Progress != nil {
			p.o.Progress(min(at+prepareStep, p.o.Size), p.o.Size)
		}
	}
	return nil
}

// step does what lies in [begin, end). Close waits for it.
func (p *preparation) step(begin, end uint64) error {
	if err := p.h.enter(); err != nil {
		return err
	}
	defer p.h.leave()
	for begin < end {
		next := p.runEnd(begin, end)
		if p.h.isCommitted(begin >> layout.GranuleShift) {
			if err := p.prepare(begin, next-begin); err != nil {
				return err
			}
		}
		begin = next
	}
	return nil
}

// runEnd returns where the granules end that have storage, or have none, as the one at begin.
func (p *preparation) runEnd(begin, end uint64) uint64 {
	first := p.h.isCommitted(begin >> layout.GranuleShift)
	for begin += layout.GranuleSize; begin < end && p.h.isCommitted(begin>>layout.GranuleShift) == first; {
		begin += layout.GranuleSize
	}
	return begin
}

// prepare does a run of granules that have storage. Huge pages come first, as they replace pages.
func (p *preparation) prepare(off, n uint64) error {
	if p.o.Huge {
		if err := p.collapse(off, n); err != nil {
			return err
		}
	}
	part := p.h.memory.Bytes(off, n)
	err := sys.Populate(part, !p.h.readOnly)
	if errors.Is(err, errors.ErrUnsupported) {
		err = p.touch(off, n)
	}
	if err != nil {
		return err
	}
	p.done.Present += n
	if p.o.Lock {
		if err := sys.LockMemory(part); err != nil {
			return err
		}
		p.done.Locked += n
	}
	return nil
}

// touch reads a byte of each page.
func (p *preparation) touch(off, n uint64) error {
	for end := off + n; off < end; off += sys.PageSize() {
		p.h.memory.Word(off).Load()
	}
	return nil
}

// collapse does the huge pages that begin in a run. The kernel may find too little memory in one piece for some.
func (p *preparation) collapse(off, n uint64) error {
	first := (p.h.geometry.base+off+hugePage-1)&^(hugePage-1) - p.h.geometry.base
	end := off + n
	p.done.Small += min(first, end) - off
	for ; first < end; first += hugePage {
		if end-first < hugePage {
			p.done.Small += end - first
			return nil
		}
		switch err := sys.CollapseHuge(p.h.memory.Bytes(first, hugePage)); {
		case errors.Is(err, errors.ErrUnsupported):
			return err
		case err != nil:
			p.done.Small += hugePage
		default:
			p.done.Huge += hugePage
		}
	}
	return nil
}
