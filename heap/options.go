package heap

import (
	"fmt"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/probe"
)

// Options say how a heap is made and where heaps are looked for. The zero value is valid, and nil
// stands for it.
type Options struct {
	// Size is the maximum size of the region in bytes, its tables (about 3 %) included. It is fixed
	// at creation and costs address space only; storage is taken as it is needed. It is rounded up
	// to whole granules. 0 means DefaultSize.
	Size uint64
	// Limit is how many bytes of the region may have storage at once, used by Create alone: see
	// Heap.SetLimit, which changes it. 0 means no limit but Size, and more than that is ErrSize.
	Limit uint64
	// Base is the address of the region. 0 lets package probe choose one.
	Base uint64
	// Above lets package probe choose one above the addresses that the kernel gives out unasked, where
	// nobody else is, on machines that have such: see probe.Above for what cannot live with that.
	Above bool
	// Forbid are processes and programs that are to join later: no base is chosen, and none accepted,
	// at which they have, or may have, something else.
	Forbid []probe.Occupant
	// Path is the file to make, on any file system that can be mapped, instead of a file of the
	// heap's name in Dir. Used by Create alone; to open such a heap, give its path as its name.
	Path string
	// Dir is the private directory of the user's heaps. "" means $SHMHEAP_DIR, and without that
	// /dev/shm/shmheap-UID on Linux and the user's cache directory elsewhere. With a Group it is
	// /dev/shm/shmheap-gGID on Linux, and elsewhere there is none that members have in common.
	Dir string
	// Kernel keeps the region instead of the file, so that code in the kernel works in it too: see package
	// kmod/arena, and kmod. Create makes the heap there. Open needs it for such a heap, and does not look at it
	// for another; so does OpenFile, and Remove. nil is for heaps in files.
	Kernel Kernel
	// HugePages asks the kernel to back the region by huge pages: on Linux, tmpfs and with sysfs
	// transparent_hugepage/shmem_enabled at "advise" or more. Prepare puts what is there already into huge pages. Each
	// process asks for its own mapping. Errors of Create and Open wrap errors.ErrUnsupported where there are none. A
	// heap in a file on hugetlbfs has huge pages without asking.
	HugePages bool
	// Interleave spreads the storage that the region gets from now on over the NUMA nodes of the machine, for heaps
	// that processes on all nodes use alike. On tmpfs it is a property of the file until it goes. Errors of Create and Open
	// wrap errors.ErrUnsupported where there are no nodes.
	Interleave bool
	// ReadOnly makes Open and OpenFile map the heap without the right to write: see OpenReadOnly. Create, Remove and
	// OpenOffline return ErrReadOnly.
	ReadOnly bool
	// Group, the name or the number of a group, lets its members have the heap: Create makes the file, and
	// the private directory if there is none, the group's, with the modes 0660 and 2770 whatever the umask. Open
	// wants the same Group, and then also accepts a file and a directory of any member that others than the members
	// cannot touch. Each member can damage the heap, or remove it. Join is not for groups. Who is no member can make files
	// of the group in a directory that hands its group on (setgid) and that others can write to: a heap whose path leads
	// there proves nothing.
	Group string
	// GroupReads makes a heap that the members of Group can open with ReadOnly only: mode 0640. It is for Create
	// alone, and ErrGroup without a Group.
	GroupReads bool
	// MaxPeers, MaxRoots and MaxCaches are the lengths of the tables. 0 means 1024, 256 and 4096.
	MaxPeers, MaxRoots, MaxCaches uint32
	// StartAgain makes Open, when something lies where the heap must be mapped, start the program of
	// this process again instead of returning the error: on Linux a program with a fixed address from
	// a copy in which the kernel reserves the range, and any other as it is, at most three times and
	// only if what lies there was placed at random. It is exec: os.Args, the environment, the working
	// directory, the process id and descriptors that are not close-on-exec stay, and all else is lost
	// without a trace of a deferred call. So call Open early in main, before anything has been begun.
	StartAgain bool
	// Force makes Remove take away the name although peers are attached. They keep their mapping.
	Force bool

	reservation *probe.Reservation // of Join: where to create the heap
}

// DefaultSize is the maximum size of a heap when Options do not say.
const DefaultSize = 1 << 30

func (o *Options) orDefault() Options {
	var v Options
	if o != nil {
		v = *o
	}
	setDefault(&v.Size, DefaultSize)
	setDefault(&v.MaxPeers, 1024)
	setDefault(&v.MaxRoots, 256)
	setDefault(&v.MaxCaches, 4096)
	return v
}

func setDefault[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

func (o *Options) kernelLimits() KernelLimits {
	if o.Kernel == nil {
		return KernelLimits{}
	}
	return o.Kernel.Limits()
}

// newGeometry places the tables, with the size rounded up to the unit of the file system.
func (o *Options) newGeometry(block int64) (layout.Geometry, error) {
	unit := uint64(layout.GranuleSize)
	if block > layout.GranuleSize && block&(block-1) == 0 {
		unit = uint64(block) // hugetlbfs: a file is whole huge pages
	}
	size := (o.Size + unit - 1) &^ (unit - 1)
	if most := o.kernelLimits().MaxSize; size < o.Size || most != 0 && size > most {
		return layout.Geometry{}, fmt.Errorf("%w: %d bytes", ErrSize, o.Size)
	}
	g, err := layout.NewGeometry(size, o.MaxRoots, o.MaxPeers, o.MaxCaches)
	if err != nil {
		return g, fmt.Errorf("%w: %w", ErrSize, err)
	}
	return g, nil
}
