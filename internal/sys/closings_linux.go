package sys

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Closings tells when a description of a file that can be written through is given up, by whomever: by
// close, by exec, or by the end of a process, however that came (man 7 inotify, IN_CLOSE_WRITE). Nothing
// is missed, but what happens at once may be told once. It tells so a moment before the kernel drops the
// description's locks (Linux, fs/file_table.c, __fput).
type Closings struct{ f *os.File }

// WatchClosings begins to watch the file. It returns an error where the kernel, or a limit of the user,
// does not allow it.
func WatchClosings(f *os.File) (*Closings, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	c := &Closings{os.NewFile(uintptr(fd), "inotify")}
	err = retry(func() error {
		_, err := unix.InotifyAddWatch(fd, PathOf(f), unix.IN_CLOSE_WRITE)
		return err
	})
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("inotify_add_watch", err), c.f.Close())
	}
	return c, nil
}

// Wait waits until there is a closing to tell, and reports false at the deadline, or when another
// goroutine calls Wake.
func (c *Closings) Wait(deadline time.Time) (bool, error) {
	if err := c.f.SetReadDeadline(deadline); err != nil {
		return false, err
	}
	var events [4096]byte
	_, err := c.f.Read(events[:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false, nil
	}
	return err == nil, err
}

// Wake ends a Wait that is under way.
func (c *Closings) Wake() error { return c.f.SetReadDeadline(time.Unix(1, 0)) }

// Close ends the watch.
func (c *Closings) Close() error { return c.f.Close() }
