package heap

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/probe"
)

// Open attaches to the heap of that name, or at that path when name contains a separator. The heap is
// mapped at its recorded base or not at all.
//
// It returns ErrNotExist, ErrPermission or ErrInsecure for a file that is missing, somebody else's or
// open to others; ErrCorrupt, ErrVersion or ErrNotReady for a superblock that does not hold; ErrOpen
// when this process has the heap open; ErrTooManyPeers; ErrBusy when another process has it to itself, see
// Alone; a *KernelError when the kernel keeps the heap and Options.Kernel is not the one; a *ConflictError with all that is in the way
// when the base is taken; and probe's errors when it cannot be had for another reason.
func Open(name string, opts *Options) (*Heap, error) {
	o := opts.orDefault()
	h, err := open(name, &o)
	if err != nil {
		return nil, fmt.Errorf("open heap %q: %w", name, startAgain(err, &o))
	}
	return h, nil
}

func open(name string, o *Options) (*Heap, error) {
	at, err := locate(name, o)
	if err != nil {
		return nil, err
	}
	f, err := at.openNamedWith(o.openAt())
	if err != nil {
		return nil, err
	}
	return attachTo(&Heap{file: f, path: at.path(), readOnly: o.ReadOnly, sharing: at.sharing, hugePages: o.HugePages, interleave: o.Interleave}, o.Kernel)
}

// OpenFile attaches to the heap behind a descriptor that was inherited or received. f stays the
// caller's and may be closed. The errors are Open's, and of the options it obeys ReadOnly, Group and Kernel.
func OpenFile(f *os.File, opts *Options) (*Heap, error) {
	if f == nil {
		return nil, fmt.Errorf("open heap: no file: %w", os.ErrInvalid)
	}
	h, err := openFile(f, opts.orDefault())
	if err != nil {
		return nil, fmt.Errorf("open heap from %s: %w", f.Name(), err)
	}
	return h, nil
}

// openFile makes a description of our own: locks on one that we share with the process that passed it
// on would be shared too.
func openFile(f *os.File, o Options) (*Heap, error) {
	s, err := o.sharing()
	if err != nil {
		return nil, err
	}
	h := &Heap{file: f, readOnly: o.ReadOnly, sharing: s, hugePages: o.HugePages, interleave: o.Interleave}
	if h.file, err = h.reopen(); err != nil {
		return nil, wrapOS(err)
	}
	if err := s.checkFile(h.file); err != nil {
		return nil, errors.Join(err, h.file.Close())
	}
	return attachTo(h, o.Kernel)
}

// attachTo attaches by the file of h, with a reservation that may be at the base already.
func attachTo(h *Heap, k Kernel) (*Heap, error) {
	if err := h.attachTo(k); err != nil {
		return nil, errors.Join(err, h.release())
	}
	return h, nil
}

func (h *Heap) attachTo(k Kernel) (err error) {
	if h.geometry, err = readSuperblock(h.file); err != nil {
		return err
	}
	if err := h.register(); err != nil {
		return err
	}
	if err := h.openRegion(k); err != nil {
		return err
	}
	st, err := sys.Stat(h.file)
	if err != nil {
		return err
	}
	h.block = blockOf(st)
	if h.region == nil && !h.readOnly {
		if h.canAllocate, err = canAllocate(h.file); err != nil {
			return err
		}
	}
	if err := h.reserveBase(); err != nil {
		return err
	}
	if err := h.mapRegion(); err != nil {
		return err
	}
	if err := h.checkRegion(); err != nil {
		return err
	}
	if h.readOnly {
		err = h.enlist()
	} else {
		err = h.attachNamed()
	}
	if err != nil {
		return err
	}
	return h.stillAtBase()
}

// stillAtBase returns ErrBusy when the heap was given another base after its superblock was read. From now on it
// cannot be, as this process is attached.
func (h *Heap) stillAtBase() error {
	if h.super.Base == h.geometry.base {
		return nil
	}
	if !h.readOnly {
		h.detach()
	}
	return fmt.Errorf("%w: it got another base meanwhile", ErrBusy)
}

// reserveBase reserves the recorded base, unless it was given.
func (h *Heap) reserveBase() (err error) {
	want := probe.Range{Start: h.geometry.base, End: h.geometry.base + h.geometry.Size}
	if h.reservation != nil && h.reservation.Range() == want {
		return nil
	}
	if err := h.reservation.Release(); err != nil {
		return err
	}
	if h.reservation, err = claim(want.Start, want.Size()); err != nil {
		return h.conflict(err)
	}
	return nil
}

// attachNamed attaches to a heap whose name is not being taken away. Remove holds all slots for a
// moment, and after that the file has no name.
func (h *Heap) attachNamed() error {
	for range 100 {
		err := h.attach()
		if named := h.path == "" || hasName(h.file); !named {
			if err == nil {
				h.detach()
			}
			return fmt.Errorf("%w: removed meanwhile", ErrNotExist)
		}
		if !errors.Is(err, ErrTooManyPeers) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return h.attachUnlessAlone()
}
