package arena

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/kmod/bpf"
)

// Kind is what heaps in arenas are recorded with.
const Kind = "arena"

// MaxSize is the limit of a region, which must not cross a multiple of it either (kernel/bpf/arena.c).
const MaxSize = 4 << 30

// From include/uapi/linux/bpf.h.
const (
	mapArena = 33
	mmapable = 1 << 10
)

// Errors of this package.
var (
	ErrBase = errors.New("the arena is for another address")
	ErrHeap = errors.New("the heap is not in an arena")
)

// BaseError says that an arena can only be mapped at another address, or with another size, than the heap's. It
// wraps ErrBase and heap.ErrCorrupt.
type BaseError struct {
	Base, Size         uint64 // of the heap
	ArenaBase, Mapping uint64 // of the arena: where it is mapped, and how many bytes
}

// Error implements error.
func (e *BaseError) Error() string {
	return fmt.Sprintf("%v: %#x bytes at %#x, the heap has %#x at %#x", ErrBase, e.Mapping, e.ArenaBase, e.Size, e.Base)
}

// Unwrap returns what errors.Is finds.
func (e *BaseError) Unwrap() []error { return []error{ErrBase, heap.ErrCorrupt} }

// Options say where arenas are found. The zero value is valid.
type Options struct {
	// Dir is a private directory, in a file system for BPF objects, where arenas have their names. "" is
	// $SHMHEAP_BPF_DIR, and without that shmheap-0 in /sys/fs/bpf for root, and for other users, who may not enter
	// that, and where there is no such file system, /run/shmheap-bpf-UID, and for a group -gGID, where Create mounts
	// one if it may. Open finds arenas by what the heap's file says.
	Dir string
	// File is an arena's descriptor that was inherited or received. Open takes it instead of what the heap's file
	// says. It stays the caller's.
	File *os.File
	// FreeFile is the descriptor of Region.FreeFile that came with it, nil for none.
	FreeFile *os.File
}

// Kernel keeps regions in arenas. It implements heap.Kernel. Any number of goroutines may use it.
type Kernel struct{ options Options }

// New returns what heap.Options.Kernel takes. nil stands for the zero Options.
func New(o *Options) *Kernel {
	if o == nil {
		o = &Options{}
	}
	return &Kernel{*o}
}

// Kind implements heap.Kernel.
func (*Kernel) Kind() string { return Kind }

// Limits implements heap.Kernel.
func (*Kernel) Limits() heap.KernelLimits {
	return heap.KernelLimits{MaxSize: MaxSize, Within: MaxSize}
}

// namePrefix is what the name of an arena begins with.
const namePrefix = "heap-"

// Locate implements heap.Kernel: a path. Names there may have no dots, so it is the heap's identity.
func (k *Kernel) Locate(s heap.KernelSpec) (string, error) {
	if s.Name == "" {
		return "", nil
	}
	dir, err := k.directory(whose{s.UID, s.Group})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, namePrefix+s.ID), nil
}

// Create implements heap.Kernel. It returns a *bpf.SupportError where there are no arenas, or not for this process.
func (k *Kernel) Create(s heap.KernelSpec) (heap.KernelRegion, error) {
	f, err := createMap(s.Base, s.Size)
	if err != nil {
		return nil, err
	}
	r := &Region{file: f, path: s.Locator, base: s.Base, size: s.Size}
	// Without it storage cannot be given back, and nothing else is missing.
	r.free, r.freeErr = loadFree(r)
	if s.Locator != "" {
		err = r.pin(s.Locator, whose{s.UID, s.Group})
	}
	if err != nil {
		return nil, errors.Join(err, k.Remove(s.Locator), r.Close())
	}
	return r, nil
}

func createMap(base, size uint64) (*os.File, error) {
	if err := checkGaps(sys.PageSize()); err != nil {
		return nil, err
	}
	f, err := sys.MapCreate(&sys.MapSpec{
		Type: mapArena, MaxEntries: uint32(size / sys.PageSize()), Flags: mmapable, Extra: base, Name: "shmheap",
	})
	if err != nil {
		return nil, unsupported(err)
	}
	return f, nil
}

// checkGaps refuses arenas where the kernel would not stop at the end of one. It has 32 KiB of nothing at either end,
// which until 6.14, and 6.12.17 and 6.13.5, was not rounded up to whole pages (CVE-2025-21851).
func checkGaps(page uint64) error {
	const gap = 32 << 10
	if page <= gap {
		return nil
	}
	release, err := sys.KernelRelease()
	if err == nil && !roundsGaps(release) {
		err = fmt.Errorf("this is %s with pages of %d bytes: %w", release, page, errors.ErrUnsupported)
	}
	if err != nil {
		return &bpf.SupportError{What: "make an arena", Need: "Linux 6.14, or 6.12.17", Err: err}
	}
	return nil
}

func roundsGaps(release string) bool {
	var major, minor, patch int
	if n, _ := fmt.Sscanf(release, "%d.%d.%d", &major, &minor, &patch); n < 2 {
		return false
	}
	switch v := (sys.Version{Major: major, Minor: minor}); {
	case v.AtLeast(6, 14):
		return true
	case v.AtLeast(6, 13):
		return patch >= 5
	default:
		return v.AtLeast(6, 12) && patch >= 17
	}
}

// unsupported says why there is no arena.
func unsupported(err error) error {
	const what = "make an arena"
	v, _ := sys.KernelVersion()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return &bpf.SupportError{What: what, Need: "Linux 6.9 with bpf(2)", Err: err}
	case v.Major != 0 && !v.AtLeast(6, 9):
		return &bpf.SupportError{What: what, Need: fmt.Sprintf("Linux 6.9, this is %d.%d", v.Major, v.Minor), Err: err}
	case errors.Is(err, os.ErrPermission):
		return &bpf.SupportError{What: what, Need: "CAP_BPF; or open one that a privileged process has made", Err: err}
	case errors.Is(err, sys.ENOMEM):
		return fmt.Errorf("%s: %w: %w", what, heap.ErrNoSpace, err)
	case errors.Is(err, sys.EINVAL):
		return &bpf.SupportError{What: what, Need: "a kernel whose BPF compiler has arenas", Err: err}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Open implements heap.Kernel. It needs no privilege, only the rights to the name, or a descriptor.
func (k *Kernel) Open(s heap.KernelSpec) (heap.KernelRegion, error) {
	r := &Region{base: s.Base, size: s.Size, freeErr: errors.ErrUnsupported}
	if err := r.open(k.options, s.Locator); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if err := r.check(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Region) open(o Options, locator string) (err error) {
	if o.File != nil {
		r.file, err = sys.Duplicate(o.File)
		if err == nil && o.FreeFile != nil {
			r.adoptFree(sys.Duplicate(o.FreeFile))
		}
		return err
	}
	if locator == "" {
		return fmt.Errorf("%w: it has no name: its descriptor is needed, Options.File", heap.ErrKernelGone)
	}
	r.file, err = sys.ObjectGet(locator)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: %w", heap.ErrKernelGone, err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: %w", heap.ErrPermission, err)
	case err != nil:
		return err
	}
	r.path = locator
	r.adoptFree(sys.ObjectGet(locator + freeSuffix))
	return nil
}

// check makes sure that the descriptor is an arena's, and one that is mapped where the heap is.
func (r *Region) check() error {
	info, err := sys.MapInfo(r.file)
	if err != nil || info.Type != mapArena {
		return fmt.Errorf("%w: %s is no arena: %w", heap.ErrCorrupt, r.file.Name(), errors.Join(err, os.ErrInvalid))
	}
	if size := uint64(info.MaxEntries) * sys.PageSize(); info.Extra != r.base || size != r.size {
		return &BaseError{Base: r.base, Size: r.size, ArenaBase: info.Extra, Mapping: size}
	}
	return nil
}

// Remove implements heap.Kernel. The locator is what a heap's file says, which others may have written: nothing but what
// Locate gives names to is removed.
func (*Kernel) Remove(locator string) error {
	if locator == "" {
		return nil
	}
	var errs []error
	for _, path := range []string{locator, locator + freeSuffix} {
		if err := removeObject(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func removeObject(path string) error {
	if _, err := os.Lstat(path); err != nil {
		return err
	}
	if dir, name := filepath.Split(path); !sys.IsBPF(dir) || !strings.HasPrefix(name, namePrefix) {
		return fmt.Errorf("%w: %s is no name of an arena", heap.ErrCorrupt, path)
	}
	return os.Remove(path)
}
