package slab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"github.com/shmheap/shmheap/internal/sys"
)

// Errors of this package, to be tested with errors.Is.
var (
	ErrNoModule   = errors.New("kernel module sample_slab is not inserted")
	ErrPermission = errors.New("not allowed to open the device")
	ErrPlatform   = errors.New("kernel modules are for Linux")
	ErrOptions    = errors.New("invalid options")
	ErrLimit      = errors.New("the module's limit is reached")
	ErrNoMemory   = errors.New("the kernel has no memory for it")
	ErrChanged    = errors.New("an object has changed since it was filled")
)

// Options say what the objects of a cache are like.
type Options struct {
	Size  uint32 // bytes, from MinSize to MaxSize
	Align uint32 // a power of two up to MaxAlign; 0 leaves it to the kernel
	Flags Flags  // of the cache
}

func (o *Options) check() error {
	switch {
	case o.Size < MinSize || o.Size > MaxSize:
		return fmt.Errorf("%w: size %d, want %d to %d", ErrOptions, o.Size, MinSize, MaxSize)
	case o.Align > MaxAlign || o.Align&(o.Align-1) != 0:
		return fmt.Errorf("%w: alignment %d, want a power of two up to %d", ErrOptions, o.Align, MaxAlign)
	case o.Flags >= ConsistencyChecks<<1:
		return fmt.Errorf("%w: flags %#x", ErrOptions, o.Flags)
	}
	return nil
}

// Cache is a cache of the kernel's object allocator, with the objects that were allocated from it.
type Cache struct {
	file *os.File
	name string
	most uint64
}

// Create makes a cache that is shared with no other. It returns ErrNoModule, ErrPermission or ErrPlatform where
// there is no module to do it; ErrOptions; ErrLimit when there are as many caches as the module allows;
// ErrNoMemory.
func Create(o *Options) (*Cache, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("create a cache: %w", err)
	}
	f, err := open()
	if err != nil {
		return nil, err
	}
	a := createArgs{Size: o.Size, Align: o.Align, Flags: o.Flags}
	if err := sys.Ioctl(f, iocCreate, &a); err != nil {
		return nil, errors.Join(fmt.Errorf("create a cache: %w", meaning(err)), f.Close())
	}
	return &Cache{file: f, name: fmt.Sprintf("shmheap_slab-%d", a.ID), most: a.MaxObjects}, nil
}

func open() (*os.File, error) {
	if runtime.GOOS != "linux" {
		return nil, ErrPlatform
	}
	f, err := os.OpenFile(DevicePath, os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %w", ErrNoModule, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: %w", ErrPermission, err)
	}
	return f, err
}

// meanings are what the module's answers mean.
var meanings = []struct{ errno, meaning error }{
	{sys.ENOSPC, ErrLimit}, {sys.ENOMEM, ErrNoMemory}, {sys.EILSEQ, ErrChanged}, {sys.EINVAL, ErrOptions},
}

func meaning(err error) error {
	for _, m := range meanings {
		if errors.Is(err, m.errno) {
			return fmt.Errorf("%w: %w", m.meaning, err)
		}
	}
	return err
}

// Name is the name of the cache in /proc/slabinfo.
func (c *Cache) Name() string { return c.name }

// MaxObjects is how many objects the cache may have at once.
func (c *Cache) MaxObjects() uint64 { return c.most }

// Alloc allocates objects, into the empty slots with the lowest numbers, and returns how many: fewer than n with
// ErrLimit or ErrNoMemory.
func (c *Cache) Alloc(n uint64, how How) (uint64, error) {
	a := allocArgs{Count: n, How: how}
	if err := sys.Ioctl(c.file, iocAlloc, &a); err != nil {
		return a.Done, fmt.Errorf("allocate from %s: %w", c.name, meaning(err))
	}
	return a.Done, nil
}

// All is more objects than there are.
const All = 1<<64 - 1

// Free frees up to n objects, those in the slots first, first+stride and so on, and returns how many. Empty slots do not
// count. It returns ErrChanged when an object was not as Fill had left it, and has freed that too.
func (c *Cache) Free(first, stride, n uint64) (uint64, error) {
	a := freeArgs{First: first, Stride: stride, Count: n}
	if err := sys.Ioctl(c.file, iocFree, &a); err != nil {
		return a.Done, fmt.Errorf("free of %s: %w", c.name, meaning(err))
	}
	return a.Done, nil
}

// Stats is what a cache has. Allocated == Live + Freed.
type Stats struct {
	Live      uint64 // objects
	Slots     uint64 // that have been used
	Allocated uint64 // objects, since the cache was made
	Freed     uint64
	Caches    uint64 // of all processes
}

// Stats returns what the cache has.
func (c *Cache) Stats() (Stats, error) {
	var a statArgs
	if err := sys.Ioctl(c.file, iocStat, &a); err != nil {
		return Stats{}, fmt.Errorf("state of %s: %w", c.name, meaning(err))
	}
	return Stats{Live: a.Live, Slots: a.Slots, Allocated: a.Allocated, Freed: a.Freed, Caches: a.Caches}, nil
}

// Close frees all objects and the cache.
func (c *Cache) Close() error { return c.file.Close() }
