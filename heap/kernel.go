package heap

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// Kernel keeps regions in memory of the kernel instead of a file, so that code in the kernel works in them
// too. It is how this package reaches techniques that it does not know: packages kmod and kmod/arena have
// one each.
//
// A heap of that kind has a file all the same, which is never mapped. It carries the byte locks, as kernel
// objects have none, and a copy of the superblock, which says by which technique and by what locator the
// region is found. Its methods may be called by any number of goroutines.
type Kernel interface {
	// Kind names the technique: 1 to 15 characters of those that heaps' names are made of.
	Kind() string
	// Limits says which regions it can keep.
	Limits() KernelLimits
	// Locate returns the text, at most 239 bytes, by which Open will find the region of a spec, whose Locator
	// is empty. It is recorded before Create is called, so that what a killed creator leaves can be removed.
	// "" means that only a descriptor will lead to it, as is right for a heap without a name.
	Locate(KernelSpec) (string, error)
	// Create makes a region of a spec, zero and without storage.
	Create(KernelSpec) (KernelRegion, error)
	// Open opens the region that another process has made from this spec. It returns an error that wraps
	// ErrKernelGone when there is none any more, and ErrCorrupt when it is not what the spec says.
	Open(KernelSpec) (KernelRegion, error)
	// Remove takes away what the locator leads to. Processes that have it open keep it. That there is nothing is
	// no error.
	Remove(locator string) error
}

// KernelLimits are what is special about regions that a Kernel keeps. A zero is no limit.
type KernelLimits struct {
	MaxSize uint64 // bytes
	Within  uint64 // a region crosses no multiple of this, a power of two of at least 1 GiB
	Forks   bool   // a child of fork has the mapping: else it must not touch the heap, and opens it anew
}

// KernelSpec says which region is meant.
type KernelSpec struct {
	Name    string // of the heap, "" for one without a name
	ID      string // of the heap, random, in hexadecimal
	Locator string // what Locate has returned
	Base    uint64 // the one address at which every process maps it
	Size    uint64 // bytes
	UID     int    // the user whose processes may open it
	Group   int    // the group whose members may, too; -1 for none
}

// KernelRegion is an open region of a Kernel.
type KernelRegion interface {
	// File is what is mapped: all of it, shared, at the base. It stays the region's. The same descriptor sent to
	// another process opens the region there.
	File() *os.File
	// Commit gives the bytes at off, whole granules, storage, so that neither a program nor code in the kernel
	// can fail to reach them. What has storage keeps it and its content. It is called while the region is mapped at
	// the base of its spec. Want of memory is an error that wraps ErrNoSpace; some may have storage then.
	Commit(off, n uint64) error
	// Decommit gives the storage back, so that the bytes read as zero, if the kernel can do that at all; else it
	// returns an error that wraps errors.ErrUnsupported.
	Decommit(off, n uint64) error
	// Close gives up what the process holds. It is called when the mapping is gone.
	Close() error
}

// Errors about heaps that the kernel keeps.
var (
	ErrKernel     = errors.New("heap is kept by the kernel")
	ErrKernelGone = errors.New("the kernel does not have the heap any more")
)

// KernelError says that a heap is kept by the kernel, and that Options.Kernel does not name who can open it.
type KernelError struct {
	Kind    string // what the heap needs: a Kernel of this kind
	Locator string // by which that finds it
	Given   string // the kind of Options.Kernel, "" for none
}

// Error implements error.
func (e *KernelError) Error() string {
	given := "there is none"
	if e.Given != "" {
		given = fmt.Sprintf("that given is of kind %q", e.Given)
	}
	return fmt.Sprintf("%v: Options.Kernel must be of kind %q, %s", ErrKernel, e.Kind, given)
}

// Unwrap returns what errors.Is finds.
func (e *KernelError) Unwrap() error { return ErrKernel }

// Kernel returns the region of a heap that the kernel keeps, for the package whose it is, and nil for a heap in
// a file and a closed one. It must not be used after Close.
func (h *Heap) Kernel() KernelRegion {
	if h.enter() != nil {
		return nil
	}
	defer h.leave()
	return h.region
}

// kindOf returns the kind of k, "" for nil.
func kindOf(k Kernel) string {
	if k == nil {
		return ""
	}
	return k.Kind()
}

// kernelFor returns the Kernel of the options if it is the one that a region needs: nil for a file.
func (g *geometry) kernelFor(k Kernel) (Kernel, error) {
	switch {
	case g.backing == "":
		return nil, nil
	case kindOf(k) != g.backing:
		return nil, &KernelError{Kind: g.backing, Locator: g.locator, Given: kindOf(k)}
	}
	return k, nil
}

// spec describes the region to a Kernel.
func (g *geometry) spec(name string, s sharing) KernelSpec {
	spec := KernelSpec{
		Name: name, ID: hex.EncodeToString(g.id[:]), Locator: g.locator, Base: g.base, Size: g.Size, UID: os.Geteuid(), Group: -1,
	}
	if s.group {
		spec.Group = s.gid
	}
	return spec
}

// createRegion makes the region of a new heap where the options want it from the kernel. The side file says
// first where it will be: a creator that is killed behind that leaves a file by which sweep finds the region.
func (h *Heap) createRegion(k Kernel) (err error) {
	if k == nil {
		return nil
	}
	if h.sharing.reads {
		return fmt.Errorf("members of a group that may only read: %w by a heap of kind %q", errors.ErrUnsupported, k.Kind())
	}
	g := &h.geometry
	named := ""
	if h.path != "" {
		named = g.name
	}
	g.backing = k.Kind()
	if g.locator, err = k.Locate(g.spec(named, h.sharing)); err != nil {
		return err
	}
	if !validBacking(g.backing, g.locator) {
		return fmt.Errorf("%w: region of kind %q at %q", ErrName, g.backing, g.locator)
	}
	page := mem.Over(make([]byte, layout.SuperblockSize))
	writeSuperblock(page, g, layout.MagicAside, 0)
	if _, err := h.file.WriteAt(page.Bytes(0, layout.SuperblockSize), 0); err != nil {
		return wrapOS(err)
	}
	crashpoint.Hit("heap.create.before-region")
	if h.region, err = k.Create(g.spec(named, h.sharing)); err != nil {
		return fmt.Errorf("region of kind %q: %w", g.backing, err)
	}
	crashpoint.Hit("heap.create.after-region")
	return nil
}

// openRegion opens the region of an existing heap where the kernel keeps it.
func (h *Heap) openRegion(k Kernel) error {
	k, err := h.geometry.kernelFor(k)
	if k == nil || err != nil {
		return err
	}
	if h.region, err = k.Open(h.geometry.spec(h.geometry.name, h.sharing)); err != nil {
		return fmt.Errorf("region of kind %q: %w", h.geometry.backing, err)
	}
	return nil
}

// checkRegion makes sure that the pages which have been mapped are those that the side file speaks of.
func (h *Heap) checkRegion() error {
	if h.region == nil {
		return nil
	}
	g, err := parseSuperblock(h.memory)
	if err == nil && (g != h.geometry || isAside(h.memory)) {
		err = fmt.Errorf("%w: heap %s is in the region, %s in %s", ErrCorrupt, hex.EncodeToString(g.id[:]), h.ID(), h.file.Name())
	}
	return err
}

// dropRegion takes away the region of a heap that could not be made, or that is being removed. Without the
// Kernel it needs that is a KernelError, and the file stays, as nothing else tells of the region.
func dropRegion(f *os.File, k Kernel) error {
	page := make([]byte, layout.SuperblockSize)
	if _, err := f.ReadAt(page, 0); err != nil || !isAside(mem.Over(page)) {
		return nil // it has not come so far, or is no heap of that kind
	}
	backing, locator, ok := backingOf(mem.View[layout.Superblock](mem.Over(page), 0))
	if !ok || locator == "" {
		return nil
	}
	k, err := (&geometry{backing: backing, locator: locator}).kernelFor(k)
	if err != nil {
		return err
	}
	return k.Remove(locator)
}

// mirror repeats the slot of this peer in the side file, for who looks without opening the region. It is for
// people: what cannot be written is left out.
func (h *Heap) mirror() {
	if h.region == nil || h.leases != nil {
		return
	}
	off := h.geometry.Sections.Peers + uint64(h.peer.Slot())*layout.PeerSize
	_, _ = h.file.WriteAt(mem.LoadBytes(h.memory.Bytes(off, layout.PeerSize)), int64(off))
}

// commitByKernel is commitByAllocating for a region that the kernel keeps.
func (h *Heap) commitByKernel(first, end uint64) error {
	for g := first; g < end; g += allocateStep {
		n := min(allocateStep, end-g)
		if err := h.region.Commit(g<<layout.GranuleShift, n<<layout.GranuleShift); err != nil {
			if first >= h.geometry.FirstGranule() {
				_ = h.region.Decommit(first<<layout.GranuleShift, (g+n-first)<<layout.GranuleShift) // the first error counts
			}
			return err
		}
	}
	h.setCommitted(first, end)
	return nil
}

// standIns is how many words of 32 bits the side file has to wait at, where the region's data would begin. Pages of
// the kernel belong to no file, and at words in them futex(2) lets processes wait for nobody but themselves.
const standIns = 1024

// mapStandIns makes waiting possible in the words of a region that the kernel keeps.
func (h *Heap) mapStandIns() error {
	if h.region == nil || h.leases != nil || h.readOnly {
		return nil
	}
	const bytes = 4 * standIns
	off := int64(h.geometry.Sections.Data)
	err := sys.Allocate(h.file, off, bytes)
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil // it gets storage when it is touched, or not: who has the file on such a system takes that risk
	}
	if err != nil {
		return wrapOS(err)
	}
	memory, unmap, err := sys.MapPages(h.file, off, bytes, true)
	if err != nil {
		return wrapOS(err)
	}
	remove := sys.StandIn(h.geometry.base, h.geometry.Size, mem.Slice[mem.Half](mem.Over(memory), 0, standIns))
	h.standIns = func() error {
		remove()
		return unmap()
	}
	return nil
}

// isAside reports whether a superblock is a side file's.
func isAside(m mem.Memory) bool { return mem.View[layout.Superblock](m, 0).Magic == layout.MagicAside }

// backingOf returns what a superblock says of who keeps the region, and whether that may be.
func backingOf(sb *layout.Superblock) (backing, locator string, ok bool) {
	backing, filled := cutFilled(sb.Backing[:])
	locator, also := cutFilled(sb.Locator[:])
	if backing == "" {
		return backing, locator, filled && also && locator == ""
	}
	return backing, locator, filled && also && validBacking(backing, locator)
}

// cutFilled returns the bytes in front of the first zero, and whether there are zeros only from there on.
func cutFilled(b []byte) (string, bool) {
	text, _ := cutName(b)
	return text, len(text) < len(b) && strings.Trim(string(b[len(text):]), "\x00") == ""
}

func validBacking(backing, locator string) bool {
	return checkName(backing) == nil && len(backing) < layout.BackingSize && len(locator) < layout.LocatorSize &&
		!strings.ContainsFunc(locator, isControl) && strings.ToValidUTF8(locator, "?") == locator
}

// mapped is what the region is mapped from.
func (h *Heap) mapped() *os.File {
	if h.region != nil {
		return h.region.File()
	}
	return h.file
}

// KernelFile returns a new descriptor of the region of a heap that the kernel keeps, to be sent to another
// process together with File's. It returns errors.ErrUnsupported for a heap in a file. The caller closes it.
func (h *Heap) KernelFile() (*os.File, error) {
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	if h.region == nil {
		return nil, fmt.Errorf("heap %q is in a file: %w", h.Name(), errors.ErrUnsupported)
	}
	f, err := sys.Duplicate(h.region.File())
	return f, wrapOS(err)
}
