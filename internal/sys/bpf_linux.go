package sys

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// MountBPF mounts a file system for BPF objects on a directory.
func MountBPF(dir string) error {
	err := unix.Mount("bpf", dir, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700")
	return pathError("mount bpf", dir, err)
}

// IsBPF reports whether the directory is in a file system for BPF objects.
func IsBPF(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && uint32(st.Type) == unix.BPF_FS_MAGIC
}

// PopulateAt gives the n bytes at an address pages, as if each had been written to, and maps them
// (man 2 madvise, MADV_POPULATE_WRITE). It fails with EFAULT where a page cannot be had.
func PopulateAt(address, n uint64) error {
	return retry(func() error {
		_, _, errno := unix.Syscall(unix.SYS_MADVISE, uintptr(address), uintptr(n), unix.MADV_POPULATE_WRITE)
		if errno != 0 {
			return os.NewSyscallError("madvise", errno)
		}
		return nil
	})
}

// Pollable returns another descriptor of f that Go's poller waits for. f is non-blocking from then on.
func Pollable(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, pathError("duplicate", f.Name(), err)
	}
	again := os.NewFile(uintptr(fd), f.Name())
	if err := again.SetDeadline(time.Time{}); err != nil {
		return nil, errors.Join(pathError("poll", f.Name(), err), again.Close())
	}
	return again, nil
}
