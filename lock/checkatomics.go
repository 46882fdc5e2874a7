package lock

import (
	"errors"
	"fmt"
	"strings"

	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// CheckAtomics tells whether locks and queues may lie in the given mapped memory, without touching it: on
// memory of devices, and memory that is not cached, atomic instructions may hang, fault, or not be
// atomic. It returns
//
//	nil              the memory is the kernel's own ordinary memory: anonymous, or of a file that it caches
//	ErrNotCacheable  it is, or may be, a device's: the kernel mapped it page by page without memory of its
//	                 own behind it (VM_IO, VM_PFNMAP), or its file is a PCI resource, /dev/mem, UIO or VFIO
//	ErrUnknown       the system does not say: no /proc/self/smaps, as on macOS, or nothing is mapped there
//
// It is on the safe side: a driver may map ordinary cached memory as VM_PFNMAP, and that is refused. What
// it cannot see is a driver that maps pages of its own uncached with vm_insert_page; those of the kernel's
// dma_alloc_coherent come as VM_PFNMAP.
func CheckAtomics(memory []byte) error {
	if len(memory) == 0 {
		return fmt.Errorf("%w: no memory", ErrUnknown)
	}
	start := uint64(mem.Over(memory).Base())
	end, next := start+uint64(len(memory)), start
	err := sys.EachArea(func(a sys.Area) error {
		if a.End <= next || a.Start >= end {
			return nil
		}
		if a.Start > next {
			return fmt.Errorf("%w: nothing is mapped at %#x", ErrUnknown, next)
		}
		next = a.End
		return classify(a)
	})
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	case err == nil && next < end:
		return fmt.Errorf("%w: nothing is mapped at %#x", ErrUnknown, next)
	}
	return err
}

// classify decides about one mapping by what the kernel says of it: see proc_pid_smaps(5), VmFlags.
func classify(a sys.Area) error {
	if why := deviceFile(a.Path); why != "" {
		return fmt.Errorf("%w: [%#x, %#x) is %s", ErrNotCacheable, a.Start, a.End, why)
	}
	for _, flag := range a.Flags {
		switch flag {
		case "io", "pf":
			return fmt.Errorf("%w: [%#x, %#x) of %q is mapped as a device's (%s)", ErrNotCacheable, a.Start, a.End, a.Path, flag)
		}
	}
	if len(a.Flags) == 0 {
		return fmt.Errorf("%w: the kernel shows no flags of [%#x, %#x)", ErrUnknown, a.Start, a.End)
	}
	return nil
}

// deviceFile says what a path is the memory of, "" for nothing special.
func deviceFile(path string) string {
	switch {
	case path == "/dev/mem" || path == "/dev/kmem":
		return "physical memory"
	case strings.HasPrefix(path, "/sys/") && strings.Contains(path, "/resource"):
		return "a PCI resource, " + path
	case strings.HasPrefix(path, "/dev/uio"), strings.HasPrefix(path, "/dev/vfio/"):
		return "a device's, " + path
	}
	return ""
}
