package kmod

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// Kernel returns what package heap needs to make and open heaps in regions of instances: give it to
// heap.Create and heap.Open as Options.Kernel. A new heap's instance has the heap's name; o says what else is
// to be in it, and nil stands for nothing. The region goes with its last user, as memory of the kernel does:
// heap.Open returns heap.ErrKernelGone then. The device must stay open as long as heaps are made and opened.
func (d *Device) Kernel(o *InstanceOptions) heap.Kernel {
	k := &kernel{device: d}
	if o != nil {
		k.options = *o
	}
	return k
}

// Of returns the instance behind a heap that this package's Kernel keeps, and nil for another heap. It is the
// heap's: it must not be closed, nor used when the heap is closed.
func Of(h *heap.Heap) *Instance {
	if r, ok := h.Kernel().(*region); ok {
		return r.instance
	}
	return nil
}

// kernelKind is what a heap's side file says of this technique.
const kernelKind = "kmod"

type kernel struct {
	device  *Device
	options InstanceOptions
}

func (k *kernel) Kind() string { return kernelKind }

// Limits asks the module each time: quotas and limits are changed while it runs.
func (k *kernel) Limits() heap.KernelLimits {
	info, err := k.device.Info()
	if err != nil {
		return heap.KernelLimits{Forks: true} // Create will say why
	}
	return heap.KernelLimits{MaxSize: info.MaxBytes, Forks: true}
}

// Locate returns the instance's name, and the heap's identity, by which another instance that has the name
// later can be told from it.
func (k *kernel) Locate(s heap.KernelSpec) (string, error) {
	if s.Name == "" {
		return "", nil
	}
	var name [nameSize]byte
	if err := setName(&name, s.Name); err != nil {
		return "", err
	}
	return s.Name + " " + s.ID, nil
}

// Create makes the instance. One without a name, which the module does not have, loses it at once.
func (k *kernel) Create(s heap.KernelSpec) (heap.KernelRegion, error) {
	o := k.options
	o.Base, o.Bytes = s.Base, s.Size
	name := s.Name
	if name == "" {
		name = "anonymous-" + s.ID
	}
	i, err := k.device.Create(name, &o)
	if err != nil {
		return nil, spaceError(err)
	}
	if s.Name == "" {
		if err := i.Unlink(); err != nil {
			return nil, errors.Join(err, i.Close())
		}
	}
	return &region{i}, nil
}

// Open opens the instance.
func (k *kernel) Open(s heap.KernelSpec) (heap.KernelRegion, error) {
	name, id, ok := strings.Cut(s.Locator, " ")
	if !ok || id != s.ID {
		return nil, fmt.Errorf("%w: instance at %q", heap.ErrCorrupt, s.Locator)
	}
	i, err := k.device.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", heap.ErrKernelGone, err)
	}
	if err != nil {
		return nil, err
	}
	if i.base != s.Base || i.bytes != s.Size {
		err := fmt.Errorf("%w: instance %q has %#x bytes at %#x, the heap %#x at %#x", heap.ErrKernelGone, name, i.bytes, i.base, s.Size, s.Base)
		return nil, errors.Join(err, i.Close())
	}
	return &region{i}, nil
}

// Remove takes the instance's name away if it is still the heap's: it goes with its last user.
func (k *kernel) Remove(locator string) error {
	name, id, _ := strings.Cut(locator, " ")
	i, err := k.device.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err = i.isHeap(id); err == nil {
		err = i.Unlink()
	}
	if errors.Is(err, heap.ErrKernelGone) || errors.Is(err, fs.ErrNotExist) {
		err = nil // another one's now, or unlinked meanwhile
	}
	return errors.Join(err, i.Close())
}

// isHeap looks for the heap of that identity in the region. It returns heap.ErrKernelGone for another one.
func (i *Instance) isHeap(id string) error {
	page := make([]byte, layout.SuperblockSize)
	if _, err := i.file.ReadAt(page, 0); err != nil {
		return fmt.Errorf("read instance %q: %w", i.name, err)
	}
	if got := mem.View[layout.Superblock](mem.Over(page), 0).ID; hex.EncodeToString(got[:]) != id {
		return fmt.Errorf("instance %q: %w: the heap in it is another one", i.name, heap.ErrKernelGone)
	}
	return nil
}

// region is an instance's region as package heap sees it.
type region struct{ instance *Instance }

func (r *region) File() *os.File { return r.instance.file }

func (r *region) Commit(off, n uint64) error {
	return spaceError(sys.Allocate(r.instance.file, int64(off), int64(n)))
}

// Decommit leaves the storage of queues that the kernel uses.
func (r *region) Decommit(off, n uint64) error {
	err := sys.PunchHole(r.instance.file, int64(off), int64(n))
	if errors.Is(err, sys.EBUSY) {
		return fmt.Errorf("%w: %w", err, errors.ErrUnsupported)
	}
	return err
}

func (r *region) Close() error { return r.instance.Close() }

// spaceError makes a quota that is used up, and want of memory, package heap's error.
func spaceError(err error) error {
	if sys.IsNoSpace(err) || errors.Is(err, sys.ENOMEM) {
		return fmt.Errorf("%w: %w", heap.ErrNoSpace, err)
	}
	return err
}
