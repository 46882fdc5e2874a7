package heap

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/probe"
)

// Create makes a heap and attaches to it. The file gets its name last, when the heap is complete: a
// creator that is killed leaves at most a file that the next Create or List removes.
//
// It returns ErrExist when the name or path is taken, ErrName or ErrSize for a bad name or size, ErrPermission or
// ErrInsecure when the private directory is not this user's alone, ErrNoDirectory when the directory of Path, or
// that in which the private one would be made, is not there, ErrGroup when there is no such group or its members
// cannot enter the private directory, ErrNoSpace when there is no room for the tables, and probe's errors when no
// base can be had: among them ErrForbidden when Options.Forbid rules out the one in Options.
func Create(name string, opts *Options) (*Heap, error) {
	o := opts.orDefault()
	h, err := createNamed(name, &o)
	if err != nil {
		return nil, fmt.Errorf("create heap %q: %w", name, err)
	}
	return h, nil
}

func createNamed(name string, o *Options) (*Heap, error) {
	if o.ReadOnly {
		return nil, ErrReadOnly
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	at, err := locate(name, o)
	if o.Path != "" {
		at, err = locatePath(o.Path, o)
	}
	if err != nil {
		return nil, err
	}
	dir, err := at.openDir(true)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return createIn(dir, at, name, o)
}

func createIn(dir *os.File, at location, name string, o *Options) (*Heap, error) {
	if f, err := at.open(dir); !errors.Is(err, ErrNotExist) {
		if f != nil {
			f.Close()
		}
		return nil, errors.Join(ErrExist, err)
	}
	sweep(dir, at, o.Kernel)
	f, temporary, err := createTemporary(dir, at.file)
	if err != nil {
		return nil, err
	}
	crashpoint.Hit("heap.create.after-file")
	h, err := initialise(&Heap{file: f, path: at.path(), sharing: at.sharing}, name, o)
	if err == nil {
		if err = sys.RenameAt(dir, temporary, at.file); err != nil {
			err = errors.Join(wrapOS(err), dropRegion(f, o.Kernel), h.Close())
		}
	}
	if err != nil {
		return nil, errors.Join(err, sys.UnlinkAt(dir, temporary))
	}
	crashpoint.Hit("heap.create.after-name")
	if err := sys.Unlock(h.file, lockCreate); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// CreateAnonymous makes a heap without a file name and attaches to it. It lives as long as a process
// has it open or a descriptor of it exists; pass [Heap.File] on and attach with OpenFile. The errors
// are Create's. On macOS others can attach until its maker closes it, and of a maker that is killed a temporary
// file stays.
func CreateAnonymous(opts *Options) (*Heap, error) {
	o := opts.orDefault()
	const name = "anonymous"
	h, err := createAnonymous(name, &o)
	if err != nil {
		return nil, fmt.Errorf("create %s heap: %w", name, err)
	}
	return h, nil
}

func createAnonymous(name string, o *Options) (*Heap, error) {
	g, err := o.newGeometry(0)
	if err != nil {
		return nil, err
	}
	f, err := sys.Anonymous("shmheap", int64(g.Size))
	if err != nil {
		return nil, wrapOS(err)
	}
	defer f.Close() // whoever made the descriptor before the fork shares its locks: use one of our own
	own, err := sys.Reopen(f)
	if err != nil {
		return nil, errors.Join(wrapOS(err), sys.ForgetAnonymous(f))
	}
	return initialise(&Heap{file: own, unnamed: true}, name, o)
}

// initialise turns an empty file of our own into a complete heap.
func initialise(h *Heap, name string, o *Options) (*Heap, error) {
	h.reservation, h.hugePages, h.interleave = o.reservation, o.HugePages, o.Interleave
	err := h.initialise(name, o)
	if err != nil {
		return nil, errors.Join(err, dropRegion(h.file, o.Kernel), h.release())
	}
	return h, nil
}

func (h *Heap) initialise(name string, o *Options) error {
	if err := h.register(); err != nil {
		return err
	}
	if err := h.sharing.give(h.file); err != nil {
		return err
	}
	if err := h.sizeFile(o); err != nil {
		return err
	}
	if err := h.reserveNew(name, o); err != nil {
		return err
	}
	h.geometry.name, h.geometry.id, h.geometry.created = name, newID(), time.Unix(0, time.Now().UnixNano())
	h.geometry.pageSize = uint32(os.Getpagesize())
	if err := h.createRegion(o.Kernel); err != nil {
		return err
	}
	// Everything in front of the caches is touched without asking. The bitmap knows whole granules.
	tables := (h.geometry.Sections.Caches + layout.GranuleSize - 1) &^ (layout.GranuleSize - 1)
	if err := h.mapNew(tables); err != nil {
		return err
	}
	if o.Limit != 0 && o.Limit < tables {
		return fmt.Errorf("%w: a limit of %d bytes, and tables of %d", ErrSize, o.Limit, tables)
	}
	if o.Limit > h.geometry.Size {
		return fmt.Errorf("%w: a limit of %d bytes, and a region of %d", ErrSize, o.Limit, h.geometry.Size)
	}
	crashpoint.Hit("heap.create.before-superblock")
	writeSuperblock(h.memory, &h.geometry, layout.Magic, o.Limit)
	crashpoint.Hit("heap.create.after-superblock")
	return h.attach()
}

// mapNew maps a new region whose tables, that many bytes, have storage. The kernel gives storage through a
// mapping, a file before there is one.
func (h *Heap) mapNew(tables uint64) (err error) {
	if h.region == nil {
		if h.canAllocate, err = allocateNew(h.file, tables); err != nil {
			return err
		}
	}
	if err := h.mapRegion(); err != nil {
		return err
	}
	if h.region != nil {
		return wrapOS(h.commitByKernel(0, tables>>layout.GranuleShift))
	}
	h.setCommitted(0, tables>>layout.GranuleShift)
	return nil
}

func (h *Heap) sizeFile(o *Options) error {
	st, err := sys.Stat(h.file)
	if err != nil {
		return err
	}
	if h.geometry.Geometry, err = o.newGeometry(st.BlockSize); err != nil {
		return err
	}
	h.block = blockOf(st)
	if st.Size == int64(h.geometry.Size) {
		return nil // a sealed memfd
	}
	return wrapOS(h.file.Truncate(int64(h.geometry.Size)))
}

// blockOf returns the unit of storage of a file if it is more than a granule: a huge page.
func blockOf(st sys.FileInfo) uint64 {
	if block := uint64(st.BlockSize); st.BlockSize > layout.GranuleSize && block&(block-1) == 0 {
		return block
	}
	return 0
}

// reserveNew chooses the base: the caller's, or one that package probe finds. The user and the name
// select where the search begins, so that two heaps of one process do not meet.
func (h *Heap) reserveNew(name string, o *Options) (err error) {
	if h.reservation != nil { // by Join
		if h.reservation.Range().Size() != h.geometry.Size {
			return fmt.Errorf("%w: %#x bytes are reserved, the file system makes it %#x", ErrSize, h.reservation.Range().Size(), h.geometry.Size)
		}
	} else if o.Base != 0 {
		if err := probe.Check(probe.Range{Start: o.Base, End: o.Base + h.geometry.Size}, o.Forbid); err != nil {
			return err
		}
		h.reservation, err = claim(o.Base, h.geometry.Size)
	} else {
		h.reservation, err = probe.Find(h.geometry.Size, &probe.Options{
			Key: BaseKey(name), Forbid: o.Forbid, Above: o.Above, Within: o.kernelLimits().Within,
		})
	}
	if err != nil {
		return err
	}
	h.geometry.base = h.reservation.Range().Start
	if unit := max(h.block, layout.GranuleSize); h.geometry.base%unit != 0 {
		return fmt.Errorf("%w: base %#x is not a multiple of %d", ErrSize, h.geometry.base, unit)
	}
	if w := o.kernelLimits().Within; w != 0 && h.geometry.base/w != (h.geometry.base+h.geometry.Size-1)/w {
		return fmt.Errorf("%w: %#x bytes at %#x cross a multiple of %#x, which a region of kind %q must not",
			ErrSize, h.geometry.Size, h.geometry.base, w, o.Kernel.Kind())
	}
	return nil
}

// BaseKey returns the key by which package probe chooses the base of a heap of this user with this name.
func BaseKey(name string) string { return fmt.Sprintf("%d/%s", os.Geteuid(), name) }

// Names of files that are being created: . NAME . random temporarySuffix.
const (
	temporarySuffix = ".new"
	temporaryRandom = 8 // characters
)

// createTemporary makes a file whose creation lock is held as long as its maker lives.
func createTemporary(dir *os.File, file string) (*os.File, string, error) {
	for range 100 {
		temporary := "." + file + "." + rand.Text()[:temporaryRandom] + temporarySuffix
		f, err := sys.CreateAt(dir, temporary)
		if err != nil {
			return nil, "", wrapOS(err)
		}
		if ours, err := sys.TryLock(f, lockCreate); err != nil || ours && hasName(f) {
			return f, temporary, err
		}
		f.Close() // swept away before it was locked
	}
	return nil, "", fmt.Errorf("%w: files in %s vanish", ErrBusy, dir.Name())
}

func hasName(f *os.File) bool {
	st, err := sys.Stat(f)
	return err == nil && st.Links > 0
}

// sweep removes what creators that died have left in dir: all of it in the private directory, and
// elsewhere, where others keep their files, what was to become the file of at. A file that tells of a region of
// the kernel stays until somebody comes with the Kernel, who can remove both.
func sweep(dir *os.File, at location, k Kernel) {
	names, err := listNames(dir)
	if err != nil {
		return
	}
	for _, name := range names {
		if file, ok := cutTemporary(name); ok && (at.private || file == at.file) {
			sweepOne(dir, at, name, k)
		}
		if at.private {
			sweepMeeting(dir, name)
		}
	}
}

// cutTemporary returns the file that a temporary one was to become.
func cutTemporary(name string) (file string, ok bool) {
	name, ok = strings.CutSuffix(name, temporarySuffix)
	dot := strings.LastIndexByte(name, '.')
	if !ok || dot < 2 || name[0] != '.' || len(name)-dot != 1+temporaryRandom {
		return "", false
	}
	return name[1:dot], true
}

func sweepOne(dir *os.File, at location, name string, k Kernel) {
	f, err := sys.OpenAt(dir, name)
	if err != nil {
		return
	}
	defer f.Close()
	if at.sharing.checkFile(f) != nil {
		return
	}
	if dead, err := sys.TryLock(f, lockCreate); err == nil && dead {
		sweepDead(dir, at, name, f, k)
	}
}

// sweepDead removes a file whose creator is gone, or has finished since it was opened: then it has its real name, and the
// region is a heap's. Where the system cannot rename in one step it may have both names; the lock is held, so that is all
// that can be.
func sweepDead(dir *os.File, at location, name string, f *os.File, k Kernel) {
	at.file = name
	if at.stillLeadsTo(dir, f) != nil {
		return
	}
	if st, err := sys.Stat(f); err != nil || st.Links == 1 && dropRegion(f, k) != nil {
		return
	}
	sys.UnlinkAt(dir, name)
}
