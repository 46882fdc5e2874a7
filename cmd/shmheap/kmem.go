package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/shmheap/shmheap/kmod/slab"
	"github.com/spf13/cobra"
)

const kmemLong = `Have the kernel make a cache of objects of a chosen size, allocate objects from
it and free some again, to study its object allocator: the cache is shared with
no other and shows in /proc/slabinfo, in /sys/kernel/slab and in the tracepoints
of kmem. The kernel module sample_slab does it; its device is root's.

With a program behind the --, that runs while the objects are there, with the
name of the cache in SHMHEAP_KMEM_CACHE, and its exit status becomes that of
this command. Without one, the command waits for --hold, or until it is
interrupted. When it ends, however it ends, all objects and the cache are gone.

Flags of the cache, as the kernel names them: hwcache_align, reclaim_account,
account, typesafe_by_rcu, poison, red_zone, store_user, consistency_checks.`

const kmemExample = `  shmheap kmem --size 192 --count 10000 --align 64 --flags hwcache_align
  shmheap kmem --size 192 --count 10000 --free 5000 --every 2 --hold 10s
  shmheap kmem --size 512 --count 100 -- grep shmheap_slab /proc/slabinfo`

const kmemCommandName = "kmem"

// kmemVariable tells a program which cache it is about.
const kmemVariable = "SHMHEAP_KMEM_CACHE"

// kmemFlags are the flags of kmem.
type kmemFlags struct {
	size               sizeValue
	align              uint32
	count, free, every uint64
	flags              []string
	zero, fill, nowait bool
	hold               time.Duration
}

// slabFlag is a flag of a cache and its name.
type slabFlag struct {
	name string
	flag slab.Flags
}

var slabFlags = []slabFlag{
	{"hwcache_align", slab.HWCacheAlign}, {"reclaim_account", slab.ReclaimAccount}, {"account", slab.Account},
	{"typesafe_by_rcu", slab.TypesafeByRCU}, {"poison", slab.Poison}, {"red_zone", slab.RedZone},
	{"store_user", slab.StoreUser}, {"consistency_checks", slab.ConsistencyChecks},
}

// kmemJSON is what "kmem --json" prints.
type kmemJSON struct {
	Cache      string       `json:"cache"`
	Size       uint64       `json:"size"`
	Align      uint32       `json:"align"`
	Flags      []string     `json:"flags"`
	MaxObjects uint64       `json:"max_objects"`
	Allocated  uint64       `json:"allocated"`
	Freed      uint64       `json:"freed"`
	Live       uint64       `json:"live"`
	Slabinfo   slabinfoJSON `json:"slabinfo"`
}

// slabinfoJSON is the line of the cache in /proc/slabinfo.
type slabinfoJSON struct {
	Active         uint64 `json:"active"`
	Objects        uint64 `json:"objects"`
	ObjectSize     uint64 `json:"object_size"`
	ObjectsPerSlab uint64 `json:"objects_per_slab"`
	PagesPerSlab   uint64 `json:"pages_per_slab"`
	Slabs          uint64 `json:"slabs"`
}

func (a *app) kmemCommand() *cobra.Command {
	f := kmemFlags{size: 64, count: 1, every: 1}
	cmd := &cobra.Command{
		Use:     kmemCommandName + " [--size S] [--count N] [-- PROGRAM [ARG...]]",
		Short:   "Have the kernel allocate objects of a chosen size",
		Long:    kmemLong,
		Example: kmemExample,
		Args:    checkKmemArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.kmem(cmd.Context(), &f, args)
		},
	}
	flags := cmd.Flags()
	flags.Var(&f.size, "size", "bytes of an object")
	flags.Uint32Var(&f.align, "align", 0, "alignment of an object, a power of two; 0: the kernel's own")
	flags.Uint64Var(&f.count, "count", f.count, "how many objects to allocate")
	flags.StringSliceVar(&f.flags, "flags", nil, "`flags` of the cache, with commas between them")
	flags.Uint64Var(&f.free, "free", 0, "how many of them to free again")
	flags.Uint64Var(&f.every, "every", f.every, "free every `k`th object, so that holes stay")
	flags.BoolVar(&f.zero, "zero", false, "allocate zeroed objects")
	flags.BoolVar(&f.fill, "fill", false, "write to all bytes of each object, and check them when it is freed")
	flags.BoolVar(&f.nowait, "nowait", false, "allocate as from an interrupt, without waiting for memory")
	flags.DurationVar(&f.hold, "hold", 0, "how long to keep them; 0: until interrupted")
	return cmd
}

func checkKmemArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
		return errors.New("write -- before the program")
	}
	return nil
}

// options returns what the flags say of the cache.
func (f *kmemFlags) options() (*slab.Options, error) {
	o := slab.Options{Size: uint32(min(f.size, slab.MaxSize+1)), Align: f.align}
	for _, name := range f.flags {
		at := slices.IndexFunc(slabFlags, func(s slabFlag) bool { return s.name == strings.ToLower(name) })
		if at < 0 {
			return nil, fmt.Errorf("%w: no flag %q", slab.ErrOptions, name)
		}
		o.Flags |= slabFlags[at].flag
	}
	if f.every == 0 {
		return nil, fmt.Errorf("%w: --every 0", slab.ErrOptions)
	}
	return &o, nil
}

func (f *kmemFlags) how() (how slab.How) {
	for _, h := range []struct {
		set bool
		how slab.How
	}{{f.zero, slab.Zero}, {f.fill, slab.Fill}, {f.nowait, slab.NoWait}} {
		if h.set {
			how |= h.how
		}
	}
	return how
}

// kmem makes the cache and its objects, and keeps them for a while.
func (a *app) kmem(ctx context.Context, f *kmemFlags, program []string) (err error) {
	o, err := f.options()
	if err != nil {
		return err
	}
	c, err := slab.Create(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	j := kmemJSON{Cache: c.Name(), Size: uint64(o.Size), Align: o.Align, Flags: append([]string{}, f.flags...), MaxObjects: c.MaxObjects()}
	if j.Allocated, err = c.Alloc(f.count, f.how()); err != nil {
		return fmt.Errorf("%w, after %s", err, plural(j.Allocated, "object", "objects"))
	}
	if j.Freed, err = c.Free(0, f.every, f.free); err != nil {
		return err
	}
	if err := a.tellKmem(&j); err != nil {
		return err
	}
	if len(program) > 0 {
		return a.runKmem(ctx, c.Name(), program)
	}
	return a.holdKmem(ctx, f.hold)
}

// tellKmem prints what was done.
func (a *app) tellKmem(j *kmemJSON) error {
	info, err := slab.ReadInfo(j.Cache)
	if err != nil {
		return err
	}
	j.Live, j.Slabinfo = j.Allocated-j.Freed, slabinfoJSON(info)
	if a.json {
		return a.printJSON(j)
	}
	a.printf("cache %s: objects of %s", j.Cache, plural(j.Size, "byte", "bytes"))
	if j.Align != 0 {
		a.printf(", aligned to %d", j.Align)
	}
	a.printf("\nallocated %s, freed %s, %s live\n", number(j.Allocated), number(j.Freed), number(j.Live))
	s := j.Slabinfo
	a.printf("slabinfo: %s active of %s, %s of %s, %s in each, %s bytes an object\n", number(s.Active), number(s.Objects),
		plural(s.Slabs, "slab", "slabs"), plural(s.PagesPerSlab, "page", "pages"), number(s.ObjectsPerSlab), number(s.ObjectSize))
	return nil
}

// runKmem runs a program and takes over its exit status.
func (a *app) runKmem(ctx context.Context, cache string, program []string) error {
	cmd := exec.CommandContext(ctx, program[0], program[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, a.out.Writer, a.err
	cmd.Env = append(os.Environ(), kmemVariable+"="+cache)
	err := cmd.Run()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok && ended.Exited() {
		return &reportedError{&exitError{err, ended.ExitCode()}}
	}
	return err
}

// holdKmem waits for a time, or without one until the command is interrupted.
func (a *app) holdKmem(ctx context.Context, hold time.Duration) error {
	if hold == 0 {
		<-ctx.Done()
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(hold):
		return nil
	}
}
