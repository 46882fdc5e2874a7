package heap

import (
	"errors"
	"fmt"
	"os"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/probe"
)

// Offline is a heap that nobody is attached to and, until Close, nobody can attach to: Open returns ErrBusy
// meanwhile. It is mapped for reading, at any address. Package alloc's Rebase is what it is for.
type Offline struct {
	file        *os.File
	geometry    geometry
	reservation *probe.Reservation
	memory      mem.Memory
	closed      bool
}

// OpenOffline takes a heap for itself without attaching to it, so that its base need not be free in this
// process. It returns ErrInUse when somebody is attached, and the errors of Open but those of the base. The kernel ends
// it when the process dies.
func OpenOffline(name string, opts *Options) (*Offline, error) {
	o := opts.orDefault()
	f, err := openOffline(name, &o)
	if err != nil {
		return nil, fmt.Errorf("open heap %q offline: %w", name, err)
	}
	return f, nil
}

func openOffline(name string, o *Options) (*Offline, error) {
	if o.ReadOnly {
		return nil, ErrReadOnly
	}
	at, err := locate(name, o)
	if err != nil {
		return nil, err
	}
	file, err := at.openNamedWith(sys.OpenAt)
	if err != nil {
		return nil, err
	}
	f := &Offline{file: file}
	if err := f.take(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// take locks everything that whoever attaches needs, and then reads what is there.
func (f *Offline) take() (err error) {
	for _, lock := range []struct{ off, n int64 }{{lockAlone, 1}, {lockPeers, layout.MaxPeers}, {lockReader, 1}} {
		if got, err := sys.TryLockRange(f.file, lock.off, lock.n); err != nil || !got {
			return errors.Join(err, ErrInUse)
		}
	}
	if !hasName(f.file) {
		return fmt.Errorf("%w: removed meanwhile", ErrNotExist)
	}
	if f.geometry, err = readSuperblock(f.file); err != nil {
		return err
	}
	if _, err := f.geometry.kernelFor(nil); err != nil {
		return err // its superblock is not in the file
	}
	if f.reservation, err = probe.Find(f.geometry.Size, &probe.Options{Key: "offline/" + f.geometry.name}); err != nil {
		return err
	}
	f.memory, err = f.reservation.Map(f.file, false)
	return err
}

// Name returns the name that the heap was created with.
func (f *Offline) Name() string { return f.geometry.name }

// Base returns the address that the heap has in every process that opens it.
func (f *Offline) Base() uint64 { return f.geometry.base }

// Size returns the maximum size of the region in bytes.
func (f *Offline) Size() uint64 { return f.geometry.Size }

// Memory returns the mapping, which lies elsewhere than at the base and cannot be written to.
func (f *Offline) Memory() mem.Memory { return f.memory }

// Geometry returns the place of the tables.
func (f *Offline) Geometry() layout.Geometry { return f.geometry.Geometry }

// SetBase gives the heap another base, at which everybody who opens it from now on has it. It changes the superblock
// and nothing else: raw pointers in the heap lead to the old place. It returns ErrSize for a base that is no multiple of
// 64 KiB or too high for any machine, and ErrClosed. A heap that the kernel keeps has no other base.
//
// The superblock is written with one write of 512 bytes, which a kill does not interrupt, and then forced
// to the disk.
func (f *Offline) SetBase(base uint64) error {
	if f.closed {
		return ErrClosed
	}
	if end := base + f.geometry.Size; base == 0 || base%layout.GranuleSize != 0 || end < base || end>>57 != 0 {
		return fmt.Errorf("%w: base %#x: want a multiple of 64 KiB that leaves room for %d bytes", ErrSize, base, f.geometry.Size)
	}
	block := make([]byte, layout.SuperblockSize)
	copy(block, f.memory.Bytes(0, layout.SuperblockSize))
	sb := mem.View[layout.Superblock](mem.Over(block), 0)
	sb.Base = base
	sb.Checksum = checksum(mem.Over(block))
	if _, err := f.file.WriteAt(block[:layout.ChecksummedSize], 0); err != nil {
		return fmt.Errorf("set base of heap %q: %w", f.geometry.name, wrapOS(err))
	}
	f.geometry.base = base
	return wrapOS(f.file.Sync())
}

// Close lets others attach again. It returns ErrClosed when that has been done.
func (f *Offline) Close() error {
	if f.closed {
		return ErrClosed
	}
	f.closed = true
	var errs []error
	if f.reservation != nil {
		errs = append(errs, f.reservation.Release())
	}
	return errors.Join(append(errs, f.file.Close())...)
}
