package heap

import (
	"errors"
	"fmt"
	"math/bits"
	"os"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// Commit gives every granule that overlaps the n bytes at off storage, so that touching them cannot
// raise SIGBUS. It is how the heap grows; peers need do nothing. It returns ErrNoSpace when the file
// system is full, and a *LimitError when the heap may not have so much; then some of the granules may
// have been committed.
//
// The caller owns the granules, or they are tables, which are never decommitted. Killed between
// allocation and bit, a granule has storage that the bitmap does not know of; the next Commit of it
// allocates what is there already.
func (h *Heap) Commit(off, n uint64) error {
	if err := h.enterToWrite(); err != nil {
		return err
	}
	defer h.leave()
	return h.commit(off, n)
}

func (h *Heap) commit(off, n uint64) error {
	if n == 0 || !h.memory.Contains(off, n) {
		return fmt.Errorf("commit %d bytes at offset %#x: %w", n, off, ErrOffset)
	}
	last := (off + n - 1) >> layout.GranuleShift
	for g := off >> layout.GranuleShift; g <= last; {
		if h.isCommitted(g) {
			g++
			continue
		}
		end := g + 1
		for end <= last && !h.isCommitted(end) {
			end++
		}
		if err := h.commitRun(g, end); err != nil {
			return err
		}
		g = end
	}
	return nil
}

func (h *Heap) commitRun(first, end uint64) error {
	err := h.withinLimit(end-first, end)
	switch {
	case err != nil:
	case h.region != nil:
		err = h.commitByKernel(first, end)
	case h.canAllocate:
		err = h.commitByAllocating(first, end)
	default:
		err = h.commitByWriting(first, end)
	}
	if err == nil {
		err = h.keepWithinLimit(first, end)
	}
	if err != nil {
		return fmt.Errorf("grow heap %q: %w", h.geometry.name, wrapOS(err))
	}
	return nil
}

// allocateStep is how many granules are allocated at once, 4 MiB. A signal makes tmpfs before Linux
// 6.18 give up and undo everything (mm/shmem.c, shmem_fallocate), so that a program with a profiling
// timer of 10 ms would never get through an allocation that takes longer.
const allocateStep = 64

// commitByAllocating sets the bits when it has storage for the whole run. When that fails it gives
// back what it got, so that a block that does not fit leaves the file system as it was; only tables
// keep it, because a peer may have committed them meanwhile.
func (h *Heap) commitByAllocating(first, end uint64) error {
	for g := first; g < end; g += allocateStep {
		n := min(allocateStep, end-g)
		err := sys.Allocate(h.file, int64(g<<layout.GranuleShift), int64(n<<layout.GranuleShift))
		if err != nil {
			if first >= h.geometry.FirstGranule() {
				sys.PunchHole(h.file, int64(first<<layout.GranuleShift), int64((g+n-first)<<layout.GranuleShift))
			}
			return err
		}
	}
	h.setCommitted(first, end)
	return nil
}

// commitByWriting is for file systems that cannot allocate. Writing zeros would destroy what a peer
// stored in a granule that it committed meanwhile, so both hold the lock of growth and look again.
func (h *Heap) commitByWriting(first, end uint64) error {
	unlock, err := h.lockByte(&h.growth, lockGrowth)
	if err != nil {
		return err
	}
	defer unlock()
	for g := first; g < end; g++ {
		if h.isCommitted(g) {
			continue
		}
		if err := writeZeros(h.file, g<<layout.GranuleShift, layout.GranuleSize); err != nil {
			return err
		}
		h.setCommitted(g, g+1)
	}
	return nil
}

func (h *Heap) setCommitted(first, end uint64) {
	for word, bits := range layout.BitRange(first, end) {
		h.committed[word].Or(bits)
	}
}

// Decommit gives the storage of whole granules back to the system; they read as zero when they are
// committed again. The caller owns them. The bits are cleared first: killed in between, a granule has
// storage that the bitmap does not know of.
func (h *Heap) Decommit(off, n uint64) error {
	if err := h.enterToWrite(); err != nil {
		return err
	}
	defer h.leave()
	if off < h.geometry.Sections.Data || (off|n)%layout.GranuleSize != 0 || n == 0 || !h.memory.Contains(off, n) {
		return fmt.Errorf("decommit %d bytes at offset %#x: %w", n, off, ErrOffset)
	}
	return h.decommit(off>>layout.GranuleShift, (off+n)>>layout.GranuleShift)
}

func (h *Heap) decommit(first, end uint64) error {
	h.clearEdges(first<<layout.GranuleShift, end<<layout.GranuleShift)
	for word, bits := range layout.BitRange(first, end) {
		h.committed[word].And(^bits)
	}
	var err error
	if h.region != nil {
		err = h.region.Decommit(first<<layout.GranuleShift, (end-first)<<layout.GranuleShift)
	} else {
		err = sys.PunchHole(h.file, int64(first<<layout.GranuleShift), int64((end-first)<<layout.GranuleShift))
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return wrapOS(err)
}

// clearEdges clears what lies in pages of a file system that the hole would cover in part only: hugetlbfs clears that
// since Linux 5.19, and left it before.
func (h *Heap) clearEdges(begin, end uint64) {
	if h.block <= layout.GranuleSize {
		return
	}
	first := min((begin+h.block-1)&^(h.block-1), end)
	last := max(end&^(h.block-1), first)
	clear(h.memory.Bytes(begin, first-begin))
	clear(h.memory.Bytes(last, end-last))
}

// IsCommitted reports whether the byte at off may be touched. In a closed heap none may.
func (h *Heap) IsCommitted(off uint64) bool {
	if h.enter() != nil {
		return false
	}
	defer h.leave()
	return off < h.geometry.Size && h.isCommitted(off>>layout.GranuleShift)
}

func (h *Heap) isCommitted(g uint64) bool {
	return h.committed[g/64].Load()>>(g%64)&1 != 0
}

// Committed returns the bytes of the region that have storage, 0 when the heap is closed.
func (h *Heap) Committed() uint64 {
	if h.enter() != nil {
		return 0
	}
	defer h.leave()
	return committedBytes(h.committed)
}

func committedBytes(bitmap []mem.Word) (n uint64) {
	for i := range bitmap {
		n += uint64(bits.OnesCount64(bitmap[i].Load()))
	}
	return n << layout.GranuleShift
}

// allocateNew gives a range of a file that nobody else uses yet storage, and reports whether the file
// system can allocate or had to be written to.
func allocateNew(f *os.File, n uint64) (canAllocate bool, err error) {
	err = sys.Allocate(f, 0, int64(n))
	if errors.Is(err, errors.ErrUnsupported) {
		return false, wrapOS(writeZeros(f, 0, n))
	}
	return true, wrapOS(err)
}

// canAllocate finds out by allocating a granule that every heap has.
func canAllocate(f *os.File) (bool, error) {
	err := sys.Allocate(f, 0, layout.GranuleSize)
	if errors.Is(err, errors.ErrUnsupported) {
		return false, nil
	}
	return true, wrapOS(err)
}

func writeZeros(f *os.File, off, n uint64) error {
	zeros := make([]byte, layout.GranuleSize)
	for end := off + n; off < end; off += uint64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(uint64(len(zeros)), end-off)], int64(off)); err != nil {
			return err
		}
	}
	return nil
}
