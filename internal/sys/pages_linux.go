package sys

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// AdviseHuge lets the kernel use huge pages for a mapping where its settings want to be asked (sysfs
// transparent_hugepage/shmem_enabled "advise"). errors.ErrUnsupported says that the kernel has none.
func AdviseHuge(mapping []byte) error { return advise(mapping, unix.MADV_HUGEPAGE, "huge pages") }

// CollapseHuge puts what the mapping's pages hold into huge pages, now: Linux 6.1. mapping is one huge page or more. It fails
// with errors.ErrUnsupported where the kernel or the file system cannot, and else for want of memory.
func CollapseHuge(mapping []byte) error {
	return advise(mapping, unix.MADV_COLLAPSE, "collapsing into huge pages")
}

// Populate makes page table entries for a mapping, for writing or for reading, so that touching it does not fault:
// Linux 5.14, and errors.ErrUnsupported before.
func Populate(mapping []byte, write bool) error {
	advice := unix.MADV_POPULATE_READ
	if write {
		advice = unix.MADV_POPULATE_WRITE
	}
	return advise(mapping, advice, "populating")
}

func advise(mapping []byte, advice int, what string) error {
	err := retry(func() error { return unix.Madvise(mapping, advice) })
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%s: %w", what, errors.ErrUnsupported)
	}
	return os.NewSyscallError("madvise", err)
}
