package heap

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// ErrExpelled says that this process was stopped for so long that others took it for dead: see CreateShared.
var ErrExpelled = errors.New("this process was taken for dead")

// CreateShared makes a heap in memory that several machines share, and attaches to it: the memory of a PCI device such as
// ivshmem (resource2 in its directory of sysfs), a DAX device, or a file that is such memory on another machine. The
// heap takes all of it. The memory must be cacheable and coherent, and atomic instructions must work on it on
// all machines: lock.CheckAtomics tells of one.
//
// Machines have no file locks in common, so who lives is told by leases: a process that does not show itself for the
// term is dead for the others, whatever the cause. Unlike file locks this takes a stopped process for dead, and
// a death is noticed only after the term. A process that comes back behind that finds ErrExpelled everywhere and
// must end at once; what it stores before may damage the heap. So choose a term longer than any stop.
//
// It returns ErrExist when there is a heap already, unless opts.Force is set, ErrBusy when somebody else is making
// one, and the errors of Create that concern the base and the sizes. Of the options it obeys Base, Above, Forbid, MaxPeers,
// MaxRoots, MaxCaches and Limit. f stays the caller's and may be closed.
func CreateShared(f *os.File, name string, term time.Duration, opts *Options) (*Heap, error) {
	if f == nil {
		return nil, fmt.Errorf("create heap %q: no file: %w", name, os.ErrInvalid)
	}
	o := opts.orDefault()
	h, err := createShared(f, name, term, &o)
	if err != nil {
		return nil, fmt.Errorf("create heap %q in %s: %w", name, f.Name(), err)
	}
	return h, nil
}

// OpenShared attaches to the heap that CreateShared has made in this memory, on whatever machine. It returns ErrNotReady
// or ErrCorrupt when there is none, and the errors of Open.
func OpenShared(f *os.File) (*Heap, error) {
	if f == nil {
		return nil, fmt.Errorf("open heap: no file: %w", os.ErrInvalid)
	}
	h, err := openShared(f)
	if err != nil {
		return nil, fmt.Errorf("open heap in %s: %w", f.Name(), err)
	}
	return h, nil
}

// MinTerm is the shortest term of CreateShared.
const MinTerm = 100 * time.Millisecond

// sharedRegion is memory that machines share: all of it is there from the beginning.
type sharedRegion struct {
	file  *os.File
	all   mem.Memory // mapped once more, wherever there is room, with the leases behind the region
	unmap func() error
}

func (r *sharedRegion) File() *os.File              { return r.file }
func (r *sharedRegion) Commit(uint64, uint64) error { return nil }
func (r *sharedRegion) Close() error                { return r.unmap() }

// Decommit clears what no hole can be made in.
func (r *sharedRegion) Decommit(off, n uint64) error {
	clear(r.all.Bytes(off, n))
	return nil
}

// openMemory maps all of the memory.
func openMemory(f *os.File) (*Heap, *sharedRegion, error) {
	own, err := sys.Reopen(f)
	if err != nil {
		return nil, nil, wrapOS(err)
	}
	st, err := sys.Stat(own)
	if err == nil && st.Size < layout.MinSize {
		err = fmt.Errorf("%w: memory of %d bytes", ErrSize, st.Size)
	}
	if err != nil {
		return nil, nil, errors.Join(err, own.Close())
	}
	bytes, unmap, err := sys.MapDevice(own, int(st.Size))
	if err != nil {
		return nil, nil, errors.Join(err, own.Close())
	}
	r := &sharedRegion{own, mem.Over(bytes), unmap}
	return &Heap{file: own, region: r}, r, nil
}

// leasesOf returns the table of leases for a region of size bytes.
func (r *sharedRegion) leasesOf(size uint64, maxPeers uint32) ([]layout.Lease, error) {
	n := layout.LeaseTable(maxPeers)
	if !r.all.Contains(size, n) {
		return nil, fmt.Errorf("%w: no room for leases behind a region of %d bytes", ErrCorrupt, size)
	}
	return mem.Slice[layout.Lease](r.all, size, uint64(maxPeers)+layout.LeaseTerm+1), nil
}

func createShared(f *os.File, name string, term time.Duration, o *Options) (*Heap, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if term < MinTerm {
		return nil, fmt.Errorf("%w: a term of %v, at least %v", ErrSize, term, MinTerm)
	}
	h, r, err := openMemory(f)
	if err != nil {
		return nil, err
	}
	if err := h.createIn(r, name, term, o); err != nil {
		return nil, errors.Join(err, h.release())
	}
	return h, nil
}

func (h *Heap) createIn(r *sharedRegion, name string, term time.Duration, o *Options) error {
	if err := h.register(); err != nil {
		return err
	}
	o.Size = r.all.Size() - min(layout.LeaseTable(o.MaxPeers)+layout.GranuleSize, r.all.Size()) // not rounded up into the leases
	var err error
	if h.geometry.Geometry, err = o.newGeometry(0); err != nil {
		return err
	}
	table, err := r.leasesOf(h.geometry.Size, o.MaxPeers)
	if err != nil {
		return err
	}
	h.leases = newLeases(table, o.MaxPeers, term)
	if err := h.claimMemory(r, o.Force); err != nil {
		return err
	}
	if err := h.reserveNew(name, o); err != nil {
		return err
	}
	h.geometry.name, h.geometry.id, h.geometry.created = name, newID(), time.Unix(0, time.Now().UnixNano())
	h.geometry.pageSize = uint32(os.Getpagesize())
	if err := h.mapRegion(); err != nil {
		return err
	}
	h.setCommitted(0, (h.geometry.Sections.Caches+layout.GranuleSize-1)>>layout.GranuleShift)
	table[h.leases.peers+layout.LeaseTerm].Beat.StoreRelease(uint64(term))
	writeSuperblock(h.memory, &h.geometry, layout.Magic, o.Limit)
	if err := h.attach(); err != nil {
		return err
	}
	return h.leases.unlock(lockCreate, 1)
}

// claimMemory waits until nobody else is making a heap, and clears the memory. Killed in between, there is no heap.
func (h *Heap) claimMemory(r *sharedRegion, force bool) error {
	for deadline := time.Now().Add(2 * h.leases.term); ; time.Sleep(h.leases.term / beatsPerTerm) {
		if got, err := h.leases.tryRange(lockCreate, 1); err != nil {
			return err
		} else if got {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: somebody is making a heap there", ErrBusy)
		}
	}
	if _, err := parseSuperblock(r.all); err == nil && !force {
		return ErrExist
	}
	mem.View[layout.Superblock](r.all, 0).Ready.Swap(0)
	clear(r.all.Bytes(0, h.geometry.Size))
	for i := range h.leases.table[:h.leases.peers] {
		h.leases.table[i].Holder.Swap(0) // of a heap that was there before: its processes are expelled
	}
	return nil
}

func openShared(f *os.File) (*Heap, error) {
	h, r, err := openMemory(f)
	if err != nil {
		return nil, err
	}
	if err := h.openIn(r); err != nil {
		return nil, errors.Join(err, h.release())
	}
	return h, nil
}

func (h *Heap) openIn(r *sharedRegion) (err error) {
	if h.geometry, err = parseSuperblock(r.all); err != nil {
		return err
	}
	if h.geometry.Size > r.all.Size() {
		return fmt.Errorf("%w: memory of %d bytes, its region has %d", ErrCorrupt, r.all.Size(), h.geometry.Size)
	}
	table, err := r.leasesOf(h.geometry.Size, h.geometry.MaxPeers)
	if err != nil {
		return err
	}
	term := time.Duration(table[h.geometry.MaxPeers+layout.LeaseTerm].Beat.Load())
	if term < MinTerm || term > 24*time.Hour {
		return fmt.Errorf("%w: a term of %v", ErrCorrupt, term)
	}
	if err := h.register(); err != nil {
		return err
	}
	h.leases = newLeases(table, h.geometry.MaxPeers, term)
	if err := h.reserveBase(); err != nil {
		return err
	}
	if err := h.mapRegion(); err != nil {
		return err
	}
	return errors.Join(h.checkRegion(), h.attachNamed())
}

var _ KernelRegion = (*sharedRegion)(nil)
