package kmod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// Instance is an open instance. Its methods may be called by any number of goroutines.
type Instance struct {
	file    *os.File
	name    string
	id      uint64
	base    uint64
	bytes   uint64
	control func() (mem.Memory, error) // maps the control words, once
	unmap   func() error
}

func newInstance(fd int32, name string, id, base, bytes uint64) *Instance {
	i := &Instance{file: sys.NewFile(fd, name), name: name, id: id, base: base, bytes: bytes}
	i.control = sync.OnceValues(i.mapControl)
	return i
}

// Adopt makes an instance of a descriptor that was inherited or received. f stays the caller's and may be
// closed.
func Adopt(f *os.File) (*Instance, error) {
	own, err := sys.Duplicate(f)
	if err != nil {
		return nil, fmt.Errorf("adopt instance: %w", err)
	}
	i := &Instance{file: own}
	st, err := i.Stat()
	if err != nil {
		return nil, errors.Join(err, own.Close())
	}
	i.name, i.id, i.base, i.bytes = st.Name, st.ID, st.Base, st.Bytes
	i.control = sync.OnceValues(i.mapControl)
	return i, nil
}

// Name returns the name by which the kernel and other programs find the instance.
func (i *Instance) Name() string { return i.name }

// ID returns the number of the instance, which is never used again while the module is inserted.
func (i *Instance) ID() uint64 { return i.id }

// Base returns the address of the region, 0 for none.
func (i *Instance) Base() uint64 { return i.base }

// Bytes returns the length of the region, 0 for none.
func (i *Instance) Bytes() uint64 { return i.bytes }

// File returns a new descriptor of the instance, to be inherited by or sent to another process, which makes an
// Instance of it with Adopt. The caller closes it.
func (i *Instance) File() (*os.File, error) {
	f, err := sys.Duplicate(i.file)
	if err != nil {
		return nil, fmt.Errorf("duplicate instance %q: %w", i.name, err)
	}
	return f, nil
}

// Close closes the descriptor and takes the mapping of the control words away: they must not be used any more.
// What came of the instance otherwise, queues and streams, stays open.
func (i *Instance) Close() error {
	err := i.file.Close()
	if i.unmap != nil {
		err = errors.Join(err, i.unmap())
		i.unmap = nil
	}
	return err
}

// Unlink takes the name away: nobody can open the instance by it any more. Its owner alone may do that. It
// returns fs.ErrNotExist when that has been done.
func (i *Instance) Unlink() error {
	return wrap("unlink instance", i.name, sys.IoctlNone(i.file, iocUnlink))
}

// Stat is what the module says of an instance.
type Stat struct {
	Name     string // of the instance
	ID       uint64 // of the instance
	Base     uint64 // of the region
	Bytes    uint64 // length of the region
	Stored   uint64 // bytes of it that have storage
	Pinned   uint64 // of these, used by queues and the kernel
	Peers    uint64 // open descriptions
	Released uint64 // that there were
	Refused  uint64 // attempts to map it that were refused
	Faults   uint64 // accesses that gave a granule storage
	Unlinked bool   // it has no name any more
}

// Stat describes the instance.
func (i *Instance) Stat() (Stat, error) {
	a := statArgs{Size: statSize}
	if err := sys.Ioctl(i.file, iocStat, &a); err != nil {
		return Stat{}, wrap("describe instance", i.name, err)
	}
	name, _, _ := strings.Cut(string(a.Name[:]), "\x00")
	return Stat{
		Name: name, ID: a.ID, Base: a.Base, Bytes: a.Bytes, Stored: a.Stored, Pinned: a.Pinned, Peers: a.Peers,
		Released: a.Released, Refused: a.Refused, Faults: a.Faults, Unlinked: a.Flags&statUnlinked != 0,
	}, nil
}

// Departed waits until more open descriptions of the instance have gone, by Close or by the death of their
// processes, than the caller knows of, and returns how many have and how many are left. It returns ctx's
// error.
func (i *Instance) Departed(ctx context.Context, known uint64) (released, peers uint64, err error) {
	a := peersArgs{Size: peersSize, Released: known}
	err = inSlices(ctx, func(deadline uint64) error {
		a.Deadline, a.Released = deadline, known
		return sys.Ioctl(i.file, iocPeers, &a)
	})
	return a.Released, a.Peers, wrap("wait for peers of", i.name, err)
}

// slice is how long a thread stays in the kernel before it looks whether its caller has given up.
const slice = 50 * time.Millisecond

// inSlices makes a call that waits until a deadline, an absolute time of CLOCK_MONOTONIC in nanoseconds, again
// and again, until it is over or ctx is done.
func inSlices(ctx context.Context, call func(deadline uint64) error) error {
	for {
		now, err := sys.Monotonic()
		if err != nil {
			return err
		}
		if err = call(uint64(now + untilDeadline(ctx, slice))); !errors.Is(err, sys.ETIMEDOUT) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// untilDeadline is how long to wait: d, or less when ctx ends earlier.
func untilDeadline(ctx context.Context, d time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(min(d, time.Until(deadline)), 0)
	}
	return d
}
