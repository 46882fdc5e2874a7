package heap

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// Info describes a heap.
type Info struct {
	Name      string    // as it was created
	Path      string    // of the file, "" for an anonymous heap
	ID        string    // hexadecimal
	Base      uint64    // address of the region
	Size      uint64    // maximum size in bytes
	Committed uint64    // bytes that have storage; 0 in a Stat of a heap that the kernel keeps
	Limit     uint64    // bytes that may have storage, 0 when there is no limit
	Version   uint32    // of the format
	PageSize  uint32    // of the system that created it
	Kernel    string    // Kernel.Kind of who keeps the region, "" for the file
	Created   time.Time // by the creator's clock
	Peers     int       // attached processes
	Err       error     // why the rest could not be read, in the results of List
}

// Info describes this heap.
func (h *Heap) Info() (Info, error) {
	if err := h.enter(); err != nil {
		return Info{}, err
	}
	defer h.leave()
	return describe(h.file, h.path, &h.geometry, h.memory, h.alive)
}

// Stat describes a heap without mapping it or attaching to it. The errors are Open's.
func Stat(name string, opts *Options) (Info, error) {
	o := opts.orDefault()
	at, err := locate(name, &o)
	if err == nil {
		var info Info
		if info, err = statAt(at); err == nil {
			return info, nil
		}
	}
	return Info{}, fmt.Errorf("stat heap %q: %w", name, err)
}

func statAt(at location) (Info, error) {
	f, err := at.openNamedWith(sys.OpenAtReadOnly)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	g, err := readSuperblock(f)
	if err != nil {
		return Info{}, err
	}
	tables := make([]byte, g.Sections.Caches)
	if _, err := f.ReadAt(tables, 0); err != nil {
		return Info{}, wrapOS(err)
	}
	return describe(f, at.path(), &g, mem.Over(tables), func(id PeerID) (bool, error) {
		return sys.Locked(f, lockPeers+int64(id.Slot()), 1)
	})
}

func describe(f *os.File, path string, g *geometry, m mem.Memory, alive func(PeerID) (bool, error)) (Info, error) {
	info := Info{
		Name: g.name, Path: path, ID: hex.EncodeToString(g.id[:]), Base: g.base, Size: g.Size,
		Version: layout.Version, PageSize: g.pageSize, Created: g.created, Kernel: g.backing,
		Limit:     mem.View[layout.Superblock](m, 0).Limit.Load(),
		Committed: committedBytes(mem.Slice[mem.Word](m, g.Sections.Committed, layout.BitmapSize(g.Granules())/8)),
	}
	peers, err := listPeers(peerTable(m, g), alive)
	for _, p := range peers {
		if p.Alive {
			info.Peers++
		}
	}
	return info, err
}

// List describes the heaps in the private directory, by name. A heap that cannot be read is listed
// with its Err. It also removes what creators that were killed have left there.
func List(opts *Options) ([]Info, error) {
	o := opts.orDefault()
	at, err := locate("x", &o)
	if err != nil {
		return nil, fmt.Errorf("list heaps: %w", err)
	}
	dir, err := at.openDir(false)
	if errors.Is(err, ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list heaps: %w", err)
	}
	defer dir.Close()
	sweep(dir, at, o.Kernel)
	names, err := listNames(dir)
	if err != nil {
		return nil, fmt.Errorf("list heaps: %w", err)
	}
	return listHeaps(at, names), nil
}

func listHeaps(in location, names []string) (infos []Info) {
	for _, file := range names {
		name, isHeap := strings.CutSuffix(file, suffix)
		if !isHeap || checkName(name) != nil {
			continue
		}
		at := in
		at.file = file
		info, err := statAt(at)
		if errors.Is(err, ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			info = Info{Name: name, Path: at.path(), Err: err}
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return infos
}

func listNames(dir *os.File) ([]string, error) {
	if _, err := dir.Seek(0, 0); err != nil {
		return nil, err
	}
	return dir.Readdirnames(-1)
}

// Remove takes the heap's name away and, once the last peer is gone, its storage. It returns ErrInUse
// while peers are attached, unless Options.Force is set; ErrNotExist, ErrPermission or ErrInsecure; and a
// *KernelError for a heap that the kernel keeps when Options.Kernel is not the one. A damaged heap can be removed.
func Remove(name string, opts *Options) error {
	o := opts.orDefault()
	at, err := locate(name, &o)
	if err == nil {
		err = remove(at, &o)
	}
	if err != nil {
		return fmt.Errorf("remove heap %q: %w", name, err)
	}
	return nil
}

func remove(at location, o *Options) error {
	if o.ReadOnly {
		return ErrReadOnly
	}
	dir, err := at.openDir(false)
	if err != nil {
		return err
	}
	defer dir.Close()
	f, err := at.open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if !at.private && !looksLikeHeap(f) {
		return fmt.Errorf("%w: %s holds no superblock, and is not in the private directory", ErrCorrupt, at.path())
	}
	// As long as all slots and the readers' byte are locked nobody can attach.
	free, err := sys.TryLockRange(f, lockPeers, layout.MaxPeers)
	if err == nil && free {
		free, err = sys.TryLock(f, lockReader)
	}
	if err != nil {
		return err
	}
	if !free && !o.Force {
		return ErrInUse
	}
	if err := at.stillLeadsTo(dir, f); err != nil {
		return err
	}
	if err := dropRegion(f, o.Kernel); err != nil {
		return err
	}
	crashpoint.Hit("heap.remove.after-region")
	return wrapOS(sys.UnlinkAt(dir, at.file))
}

// stillLeadsTo returns an error when the name has been given to another file since f was opened.
func (l location) stillLeadsTo(dir, f *os.File) error {
	again, err := l.open(dir)
	if err != nil {
		return err
	}
	defer again.Close()
	old, err := sys.Stat(f)
	if err != nil {
		return err
	}
	if now, err := sys.Stat(again); err != nil || !now.Same(old) {
		return errors.Join(fmt.Errorf("%w: it was made anew meanwhile", ErrInUse), err)
	}
	return nil
}

// looksLikeHeap keeps Remove from deleting a file that was named by mistake.
func looksLikeHeap(f *os.File) bool {
	page := make([]byte, layout.SuperblockSize)
	_, err := f.ReadAt(page, 0)
	return err == nil && (mem.View[layout.Superblock](mem.Over(page), 0).Magic == layout.Magic || isAside(mem.Over(page)))
}
