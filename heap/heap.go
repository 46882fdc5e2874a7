package heap

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/probe"
)

// Heap is an open heap: a mapping of the region at its base, and one slot in the table of peers. Its
// methods may be called by any number of goroutines; after Close they return ErrClosed or zero.
type Heap struct {
	file                  *os.File     // this process's own file description: it carries the locks
	path                  string       // "" for an anonymous heap
	region                KernelRegion // what is mapped instead of file, nil for a heap in the file
	standIns              func() error // takes away the words of the file that are waited at instead of the region's
	canAllocate           bool
	hugePages, interleave bool   // what Options say
	block                 uint64 // bytes that the file system gives storage to at once, 0 for less than a granule
	unnamed               bool   // made by this process without a name: what the system gave it in place of one goes with Close
	readOnly              bool   // no right to write, no slot
	sharing               sharing
	leases                *leases // in place of file locks, nil for a heap in a file
	reservation           *probe.Reservation
	unregister            func()

	geometry  geometry
	memory    mem.Memory
	super     *layout.Superblock
	committed []mem.Word
	roots     []layout.Root
	peers     []layout.Peer
	peer      PeerID

	life    sync.RWMutex // held for reading while the mapping is used, for writing to take it away
	closed  bool
	hooks   sync.Mutex // guards onClose
	onClose []*hook    // nil once Close has begun
	stays   stays

	rootsMutex, growth sync.Mutex // in front of the byte locks of the same names
	alone              sync.Mutex // held as long as lockAlone
	watches            watches
}

// enter keeps the mapping in place until leave.
func (h *Heap) enter() error {
	h.life.RLock()
	if h.closed {
		h.life.RUnlock()
		return ErrClosed
	}
	if h.expelled() {
		h.life.RUnlock()
		return ErrExpelled
	}
	return nil
}

func (h *Heap) leave() { h.life.RUnlock() }

// enterToWrite is enter for what changes the heap.
func (h *Heap) enterToWrite() error {
	if h.readOnly {
		return ErrReadOnly
	}
	return h.enter()
}

// Name returns the name that the heap was created with.
func (h *Heap) Name() string { return h.geometry.name }

// ID returns the random identity of the heap in hexadecimal.
func (h *Heap) ID() string { return hex.EncodeToString(h.geometry.id[:]) }

// Path returns the file of the heap, "" for an anonymous one.
func (h *Heap) Path() string { return h.path }

// Base returns the address of the region, the same in every process.
func (h *Heap) Base() uint64 { return h.geometry.base }

// Size returns the maximum size of the region in bytes.
func (h *Heap) Size() uint64 { return h.geometry.Size }

// Memory returns the mapping, for the packages that build on this one. It must not be used after
// Close.
func (h *Heap) Memory() mem.Memory { return h.memory }

// Geometry returns the place of the tables, for the packages that build on this one.
func (h *Heap) Geometry() layout.Geometry { return h.geometry.Geometry }

// hook is what Close calls.
type hook struct{ call func() error }

// OnClose makes Close call f before it detaches, last registered first, unless forget is called before. It returns ErrClosed
// when it is too late.
func (h *Heap) OnClose(f func() error) (forget func(), err error) {
	h.hooks.Lock()
	defer h.hooks.Unlock()
	if h.onClose == nil {
		return nil, ErrClosed
	}
	one := &hook{f}
	h.onClose = append(h.onClose, one)
	return func() {
		h.hooks.Lock()
		defer h.hooks.Unlock()
		h.onClose = slices.DeleteFunc(h.onClose, func(x *hook) bool { return x == one })
	}, nil
}

// File returns a new descriptor of the heap's file, to be inherited by or sent to another process,
// which attaches with OpenFile. It carries none of this peer's locks, and of a heap that is open for reading
// alone no right to write. Of a heap that the kernel keeps it is the side file, and the other process needs
// KernelFile's descriptor too, or what Options.Kernel can find by itself. The caller closes it.
func (h *Heap) File() (*os.File, error) {
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	f, err := h.reopen()
	return f, wrapOS(err)
}

// Close detaches this peer and takes the mapping away. Pointers into the heap must not be used any
// more, and nobody may be left in what works with them, but for those who wait in a queue's Pop or a lock's Lock, or whatever
// else sleeps: they return with an error, and Close waits for that. The handles of queues are closed. Methods of the heap
// itself, Watch among them, return.
//
// It returns ErrClosed when the heap is closed already, or is being closed. Killed during Close, the process is a dead peer
// like any other.
func (h *Heap) Close() error {
	hooks, err := h.startClose()
	if err != nil {
		return err
	}
	h.stays.end()
	var errs []error
	for _, one := range slices.Backward(hooks) {
		errs = append(errs, one.call())
	}
	h.life.Lock()
	defer h.life.Unlock()
	h.closed = true
	if !h.readOnly && !h.expelled() {
		h.detach()
	}
	return errors.Join(append(errs, h.release())...)
}

func (h *Heap) startClose() ([]*hook, error) {
	h.hooks.Lock()
	defer h.hooks.Unlock()
	if h.onClose == nil {
		return nil, ErrClosed
	}
	hooks := h.onClose
	h.onClose = nil
	if h.expelled() {
		return nil, nil // what the hooks would give back is others' by now
	}
	return hooks, nil
}

// expelled reports whether others have taken this process for dead.
func (h *Heap) expelled() bool { return h.leases != nil && h.leases.expelled.Load() }

// release gives back what the process holds, in the opposite order of taking it.
func (h *Heap) release() error {
	var errs []error
	if h.leases != nil {
		h.leases.close()
	}
	if h.reservation != nil {
		errs = append(errs, h.reservation.Release())
	}
	if h.unregister != nil {
		h.unregister()
	}
	if h.standIns != nil {
		errs = append(errs, h.standIns())
	}
	if h.region != nil {
		errs = append(errs, h.region.Close())
	}
	if h.unnamed {
		errs = append(errs, sys.ForgetAnonymous(h.file))
	}
	if h.file != nil {
		errs = append(errs, h.file.Close())
	}
	return errors.Join(errs...)
}

// mapRegion maps the region over the reservation.
func (h *Heap) mapRegion() error {
	m, err := h.reservation.Map(h.mapped(), !h.readOnly)
	if err != nil {
		return fmt.Errorf("map %s: %w", h.mapped().Name(), err)
	}
	h.viewTables(m)
	h.onClose = []*hook{}
	return errors.Join(h.advise(), h.mapStandIns())
}

// advise tells the kernel what the options want of the mapping.
func (h *Heap) advise() error {
	var errs []error
	all := h.memory.Bytes(0, h.memory.Size())
	if h.hugePages && h.block == 0 { // else the file system has them already
		errs = append(errs, sys.AdviseHuge(all))
	}
	if h.interleave {
		errs = append(errs, sys.Interleave(all))
	}
	return errors.Join(errs...)
}

// viewTables makes the views of the tables in m.
func (h *Heap) viewTables(m mem.Memory) {
	h.memory = m
	g := &h.geometry
	h.super = mem.View[layout.Superblock](m, 0)
	h.committed = mem.Slice[mem.Word](m, g.Sections.Committed, layout.BitmapSize(g.Granules())/8)
	h.roots = mem.Slice[layout.Root](m, g.Sections.Roots, uint64(g.MaxRoots))
	h.peers = mem.Slice[layout.Peer](m, g.Sections.Peers, uint64(g.MaxPeers))
}

// opened is the set of heaps that this process has open. A second mapping at the same base cannot be
// had, and the error that would come of it would name the process's own heap. It also keeps the heaps from the garbage
// collector, which would close the file and so give up its locks: a program may follow pointers without a Heap.
var opened struct {
	sync.Mutex
	files map[[2]uint64]*Heap
}

// register enters the file into the set, or returns ErrOpen.
func (h *Heap) register() error {
	st, err := sys.Stat(h.file)
	if err != nil {
		return err
	}
	key := [2]uint64{st.Device, st.Inode}
	opened.Lock()
	defer opened.Unlock()
	if opened.files[key] != nil {
		return ErrOpen
	}
	if opened.files == nil {
		opened.files = make(map[[2]uint64]*Heap)
	}
	opened.files[key] = h
	h.unregister = func() {
		opened.Lock()
		defer opened.Unlock()
		delete(opened.files, key)
	}
	return nil
}
