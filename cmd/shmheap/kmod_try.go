package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/kmod"
	"github.com/spf13/cobra"
)

const kmodTestLong = `Try the module from outside: an instance that is made, found by its name and
goes; control words; a heap in the kernel's memory with blocks in it; and
whether all of it is given back. What the module can prove of itself, it proves
when it is inserted.`

func (a *app) kmodTestCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "test",
		Short:   "Try the module",
		Long:    kmodTestLong,
		Example: "  shmheap kmod test",
		Args:    arguments(0, 0),
		RunE:    func(*cobra.Command, []string) error { return a.kmodTest() },
	}
}

var errModule = errors.New("the module does not do what it should")

func (a *app) kmodTest() error {
	d, err := kmod.Open()
	if err != nil {
		return err
	}
	defer d.Close()
	before, err := d.Info()
	if err != nil {
		return err
	}
	for _, try := range []struct {
		what string
		run  func(*kmod.Device, string) error
	}{{"names", tryNames}, {"control words", tryControl}, {"heap", tryHeap}} {
		if err := try.run(d, fmt.Sprintf("shmheap-test-%d", os.Getpid())); err != nil {
			return fmt.Errorf("%s: %w", try.what, err)
		}
		a.printf("ok  %s\n", try.what)
	}
	if err := givenBack(d, before.Used); err != nil {
		return err
	}
	a.printf("ok  nothing is left\n")
	return nil
}

// givenBack waits until the caller has no more memory than before: the kernel frees it a grace period after its last
// user is gone.
func givenBack(d *kmod.Device, before uint64) error {
	const patience, pause = 30 * time.Second, 10 * time.Millisecond
	for end := time.Now().Add(patience); ; time.Sleep(pause) {
		info, err := d.Info()
		if err != nil || info.Used <= before {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w: %d bytes were not given back", errModule, info.Used-before)
		}
	}
}

func tryNames(d *kmod.Device, name string) error {
	i, err := d.Create(name, nil)
	if err != nil {
		return err
	}
	defer i.Close()
	other, err := d.Open(name)
	if err != nil {
		return err
	}
	if other.ID() != i.ID() {
		err = fmt.Errorf("%w: instance %d is found as %d", errModule, i.ID(), other.ID())
	}
	return errors.Join(err, other.Close(), i.Unlink())
}

func tryControl(d *kmod.Device, name string) error {
	i, err := d.Create(name, nil)
	if err != nil {
		return err
	}
	defer i.Close()
	other, err := d.Open(name)
	if err != nil {
		return err
	}
	defer other.Close()
	for n := range kmod.ControlWords {
		mine, err := i.Control(n)
		if err != nil {
			return err
		}
		theirs, err := other.Control(n)
		if err != nil {
			return err
		}
		mine.Store(uint64(n) + 1)
		if got := theirs.Load(); got != uint64(n)+1 {
			return fmt.Errorf("%w: control word %d is %d", errModule, n, got)
		}
	}
	return nil
}

func tryHeap(d *kmod.Device, name string) error {
	dir, err := os.MkdirTemp("", "shmheap-kmod-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o := &heap.Options{Size: 64 << 20, Dir: filepath.Join(dir, "heaps"), Kernel: d.Kernel(nil)}
	h, err := heap.Create(name, o)
	if err != nil {
		return err
	}
	return errors.Join(fill(h), h.Close())
}

// fill allocates in the heap, and checks it.
func fill(h *heap.Heap) error {
	return withAllocator(h, func(al *alloc.Allocator) error {
		for n := range uint64(1000) {
			p, err := al.Alloc(16 + 37*n)
			if err != nil {
				return err
			}
			if err := al.Free(p); err != nil {
				return err
			}
		}
		return al.Check().Err()
	})
}
