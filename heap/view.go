package heap

import (
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// View is a heap that this process looks at without taking part: it has no slot in the table of peers, holds no
// lock, and its mapping can be read only, so looking changes nothing and a heap without a free slot can be
// looked at too. The mapping is wherever the system has room, because nothing is followed in it but offsets:
// raw pointers into the heap mean nothing to a View.
//
// Its methods may be called by any number of goroutines; after Close they return ErrClosed or zero. What they
// read of peers at work is a blurred picture. A file that is cut while it is looked at raises SIGBUS where it is
// missing, as for every peer: see Cut.
type View struct{ h *Heap }

// Look opens the heap of that name, or at that path when name contains a separator, to be looked at. The errors
// are Open's, but for those about the base, about slots and about who else has it open; with too small an
// address space the error is the system's.
func Look(name string, opts *Options) (*View, error) {
	o := opts.orDefault()
	v, err := look(name, &o)
	if err != nil {
		return nil, fmt.Errorf("look at heap %q: %w", name, err)
	}
	return v, nil
}

func look(name string, o *Options) (*View, error) {
	at, err := locate(name, o)
	if err != nil {
		return nil, err
	}
	f, err := at.openNamedWith(sys.OpenAtReadOnly)
	if err != nil {
		return nil, err
	}
	h := &Heap{file: f, path: at.path()}
	if err := h.mapToLook(); err != nil {
		return nil, errors.Join(err, h.release())
	}
	return &View{h}, nil
}

// mapToLook maps the file where the system has room.
func (h *Heap) mapToLook() (err error) {
	if h.geometry, err = readSuperblock(h.file); err != nil {
		return err
	}
	p, err := sys.MapToRead(h.file, h.geometry.Size)
	if err != nil {
		return fmt.Errorf("map %s: %w", h.file.Name(), err)
	}
	h.viewTables(mem.At(p, h.geometry.Size))
	return nil
}

// Close takes the mapping away. It returns ErrClosed when that has been done.
func (v *View) Close() error {
	h := v.h
	h.life.Lock()
	defer h.life.Unlock()
	if h.closed {
		return ErrClosed
	}
	h.closed = true
	err := sys.Unmap(uint64(h.memory.Base()), h.geometry.Size)
	return errors.Join(err, h.release())
}

// Name returns the name that the heap was created with.
func (v *View) Name() string { return v.h.Name() }

// Base returns the address that the region has in its peers.
func (v *View) Base() uint64 { return v.h.Base() }

// Size returns the maximum size of the region in bytes.
func (v *View) Size() uint64 { return v.h.Size() }

// Memory returns the mapping, for the packages that build on this one. It must not be written to, nor used after
// Close.
func (v *View) Memory() mem.Memory { return v.h.memory }

// Geometry returns the place of the tables, for the packages that build on this one.
func (v *View) Geometry() layout.Geometry { return v.h.Geometry() }

// Peer returns 0, which is nobody.
func (v *View) Peer() PeerID { return 0 }

// Info describes the heap.
func (v *View) Info() (Info, error) { return v.h.Info() }

// Peers is Heap.Peers.
func (v *View) Peers() ([]Peer, error) { return v.h.Peers() }

// Alive is Heap.Alive.
func (v *View) Alive(id PeerID) (bool, error) { return v.h.Alive(id) }

// Roots is Heap.Roots.
func (v *View) Roots() ([]Root, error) { return v.h.Roots() }

// IsCommitted is Heap.IsCommitted.
func (v *View) IsCommitted(off uint64) bool { return v.h.IsCommitted(off) }

// Committed is Heap.Committed.
func (v *View) Committed() uint64 { return v.h.Committed() }

// Cut returns ErrCorrupt when the file is shorter than the region, and ErrNotExist when it has no name any more:
// it was removed, or made anew.
func (v *View) Cut() error {
	h := v.h
	if err := h.enter(); err != nil {
		return err
	}
	defer h.leave()
	st, err := sys.Stat(h.file)
	switch {
	case err != nil:
		return err
	case uint64(st.Size) < h.geometry.Size:
		return fmt.Errorf("%w: file was cut to %d bytes", ErrCorrupt, st.Size)
	case !hasName(h.file):
		return fmt.Errorf("%w: %s was removed", ErrNotExist, h.path)
	}
	return nil
}

// Path returns the path of the heap's file.
func (v *View) Path() string { return v.h.path }
