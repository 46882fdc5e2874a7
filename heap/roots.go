package heap

import (
	"errors"
	"fmt"
	"strings"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// Fingerprint identifies the type of what a root leads to. Package alloc computes it from the fields of a Go type:
// see its StoreRoot. Others may use any number that the programs that share the root agree on.
type Fingerprint uint64

// Root is a named entry point into the heap.
type Root struct {
	Name     string      // at most 63 bytes, no control characters
	Offset   uint64      // from the base, 0 is nil
	Type     Fingerprint // of what lies there
	TypeName string      // for people; cut to 31 bytes
}

// LoadRoot returns the root of that name, or ErrNoRoot. It takes no lock and does not wait.
func (h *Heap) LoadRoot(name string) (Root, error) {
	if err := h.enter(); err != nil {
		return Root{}, err
	}
	defer h.leave()
	r, _, err := h.findRoot(name)
	return r, err
}

// StoreRoot makes r.Name lead to r.Offset. It returns ErrRootType when the name exists with another
// type, ErrTooManyRoots, ErrName, ErrOffset, and ErrBusy when another process was stopped in the
// middle of making a root. Killed at any point, the root leads to the old offset or to the new one.
func (h *Heap) StoreRoot(r Root) error {
	_, _, err := h.changeRoot(r, true)
	return err
}

// LoadOrStoreRoot returns the root of r.Name if there is one, and otherwise makes it from r. Of
// several that call it at once one stores and the others load what it stored. The errors are
// StoreRoot's.
func (h *Heap) LoadOrStoreRoot(r Root) (actual Root, loaded bool, err error) {
	return h.changeRoot(r, false)
}

// DeleteRoot takes the name away, that of a damaged root too. What it led to stays. It returns ErrNoRoot
// or ErrBusy.
func (h *Heap) DeleteRoot(name string) error {
	if err := h.enterToWrite(); err != nil {
		return err
	}
	defer h.leave()
	unlock, err := h.lockByte(&h.rootsMutex, lockRoots)
	if err != nil {
		return err
	}
	defer unlock()
	_, entry, err := h.findRoot(name)
	if entry != nil { // damaged or not
		entry.State.Swap(nextRootState(entry, layout.RootFree)) // a barrier: what comes next is written later
		return nil
	}
	return err
}

// Roots returns all roots.
func (h *Heap) Roots() ([]Root, error) {
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	var roots []Root
	for i := range h.roots {
		r, ok, err := h.readRoot(&h.roots[i])
		if err != nil {
			return roots, err
		}
		if ok {
			roots = append(roots, r)
		}
	}
	return roots, nil
}

func (h *Heap) changeRoot(r Root, replace bool) (actual Root, loaded bool, err error) {
	if err := h.enterToWrite(); err != nil {
		return r, false, err
	}
	defer h.leave()
	if err := h.checkRoot(r); err != nil {
		return r, false, err
	}
	unlock, err := h.lockByte(&h.rootsMutex, lockRoots)
	if err != nil {
		return r, false, err
	}
	defer unlock()
	switch old, entry, err := h.findRoot(r.Name); {
	case errors.Is(err, ErrNoRoot):
		return r, false, h.newRoot(r)
	case err != nil && !(replace && entry != nil):
		return r, false, err
	case old.Type != r.Type:
		return old, true, fmt.Errorf("%w: %q is a %s, not a %s: their fields differ", ErrRootType, r.Name, old.TypeName, r.TypeName)
	case replace:
		entry.Offset.Swap(r.Offset)
		return r, true, nil
	default:
		return old, true, nil
	}
}

// newRoot writes a free entry: its fields while it is still free, its state last.
func (h *Heap) newRoot(r Root) error {
	for i := range h.roots {
		entry := &h.roots[i]
		if entry.State.Load()&rootStateMask != layout.RootFree {
			continue
		}
		entry.Offset.StoreRelease(r.Offset)
		entry.Type.StoreRelease(uint64(r.Type))
		entry.Name, entry.TypeName = [layout.NameSize]byte{}, [layout.TypeNameSize]byte{}
		copy(entry.Name[:len(entry.Name)-1], r.Name)
		copy(entry.TypeName[:len(entry.TypeName)-1], r.TypeName)
		crashpoint.Hit("heap.root.before-state")
		entry.State.StoreRelease(nextRootState(entry, layout.RootReady))
		crashpoint.Hit("heap.root.after-state")
		return nil
	}
	return fmt.Errorf("%w: all %d are taken", ErrTooManyRoots, len(h.roots))
}

// The state of a root entry is in the low bit; the count of changes above it lets a reader notice that
// the entry became another root while it read.
const rootStateMask = 1

func nextRootState(entry *layout.Root, state uint64) uint64 {
	return entry.State.Load()&^rootStateMask + 2 | state
}

// findRoot returns the root of that name and its entry, or ErrNoRoot and no entry.
func (h *Heap) findRoot(name string) (Root, *layout.Root, error) {
	for i := range h.roots {
		r, ok, err := h.readRoot(&h.roots[i])
		if ok && r.Name == name {
			return r, &h.roots[i], err
		}
		if errors.Is(err, ErrBusy) {
			return Root{}, nil, err
		}
	}
	return Root{}, nil, fmt.Errorf("%w: %q", ErrNoRoot, name)
}

// readRoot copies an entry. It reads again when a writer changed it meanwhile, but not for ever: a
// peer that keeps changing it must not make this one hang.
func (h *Heap) readRoot(entry *layout.Root) (Root, bool, error) {
	for range 1000 {
		state := entry.State.Load()
		if state&rootStateMask != layout.RootReady {
			return Root{}, false, nil
		}
		offset, kind := entry.Offset.Load(), entry.Type.Load()
		name, _ := cutName(mem.LoadBytes(entry.Name[:]))
		typeName, _ := cutName(mem.LoadBytes(entry.TypeName[:]))
		if entry.State.Load() != state {
			continue
		}
		r := Root{Name: name, Offset: offset, Type: Fingerprint(kind), TypeName: typeName}
		if offset != 0 && !h.isData(offset) {
			return r, true, fmt.Errorf("root %q: %w: offset %#x", name, ErrCorrupt, offset)
		}
		return r, true, nil
	}
	return Root{}, false, ErrBusy
}

func (h *Heap) isData(off uint64) bool {
	return off >= h.geometry.Sections.Data && off < h.geometry.Size
}

func (h *Heap) checkRoot(r Root) error {
	if r.Name == "" || len(r.Name) >= layout.NameSize || strings.ContainsFunc(r.Name, isControl) ||
		strings.ToValidUTF8(r.Name, "?") != r.Name {
		return fmt.Errorf("%w %q: want 1 to %d bytes without control characters", ErrName, r.Name, layout.NameSize-1)
	}
	if r.Offset != 0 && !h.isData(r.Offset) {
		return fmt.Errorf("root %q: %w: %#x", r.Name, ErrOffset, r.Offset)
	}
	return nil
}

func isControl(c rune) bool { return c < ' ' || c == 0x7f }
