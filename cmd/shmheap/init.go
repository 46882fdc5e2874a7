package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/spf13/cobra"
)

const initLong = `Make a heap.

The size is the most that the heap can ever hold. It is address space, not
memory: memory is taken as it is needed, so be generous. 64k is 64,000 bytes,
64KiB is 65,536. With --limit, no more than that of it is ever in memory.

The base is the address at which every process will see the heap. Without
--base, one is chosen that hardly any program ever uses, and no other heap in
the same directory.

With --above, it lies above the addresses that the kernel gives out unasked, on
machines that have more (5-level paging on x86-64, 52 bits on arm64). Nobody else
is there; but programs that keep numbers in the upper bits of pointers, such as
JavaScript engines, and sanitizers cannot use such a heap.

With --group, the members of a group can open the heap, if they say --group too;
with --group-reads they can read it, and say --read-only as well.

With --arena, the heap is in a BPF arena (Linux 6.9, at most 4 GiB): programs in
the kernel can work in it, and whoever makes it needs CAP_BPF.

With --pid and --profile, the base is chosen where these processes, and
programs that "shmheap survey" has looked at, have nothing; a --base where they
have, or may have, something is refused. See "shmheap probe --help".`

const initExample = `  shmheap init orders --size 4GiB
  shmheap init orders --size 64GiB --path /var/lib/orders/orders.heap
  shmheap init ./here.heap --size 512MB
  shmheap init orders --base 0x5500_0000_0000
  shmheap init orders --size 16TiB --above
  shmheap init orders --group traders --group-reads
  shmheap init orders --pid 4711 --profile node.json`

// initFlags are the flags of init.
type initFlags struct {
	othersFlags
	size  sizeValue
	limit sizeValue
	base  addressValue
	above bool
	path  string
	peers uint32
	reads bool
	nodes bool
	arena bool
}

func (a *app) initCommand() *cobra.Command {
	f := initFlags{size: heap.DefaultSize}
	cmd := &cobra.Command{
		Use:     "init NAME",
		Short:   "Make a heap",
		Long:    initLong,
		Example: initExample,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.base != 0 && f.above {
				return errors.New("--base and --above exclude each other")
			}
			if f.reads && a.group == "" {
				return errors.New("--group-reads wants a --group")
			}
			return arguments(1, 1)(cmd, args)
		},
		RunE: func(_ *cobra.Command, args []string) error {
			return a.init(args[0], &f)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	f.add(flags)
	flags.Var(&f.size, "size", "the most that the heap can hold, such as 512MB or 4GiB")
	flags.Var(&f.limit, "limit", "the most memory that the heap may take, tables included (default as much as fits)")
	flags.Var(&f.base, "base", "the address of the heap in every process, such as 0x5500_0000_0000")
	addAbove(flags, &f.above)
	flags.StringVar(&f.path, "path", "", "make the `file` there instead of in the private directory")
	flags.Uint32Var(&f.peers, "max-peers", 0, "how many processes can be attached at once (default 1024)")
	flags.BoolVar(&f.nodes, "interleave", false, "spread the heap's memory over the NUMA nodes of the machine")
	flags.BoolVar(&f.arena, "arena", false, "keep the heap in a BPF arena, where programs in the kernel can work in it")
	flags.BoolVar(&f.reads, "group-reads", false, "let the members of --group read the heap, and not write it")
	cmd.MarkFlagFilename("path")
	cmd.MarkFlagFilename("profile")
	return cmd
}

// init makes a heap and leaves it.
func (a *app) init(name string, f *initFlags) error {
	opts := a.options()
	opts.Limit, opts.GroupReads, opts.Interleave = uint64(f.limit), f.reads, f.nodes
	opts.Size, opts.Base, opts.Path, opts.MaxPeers, opts.Above = uint64(f.size), uint64(f.base), f.path, f.peers, f.above
	if strings.ContainsRune(name, filepath.Separator) {
		if f.path != "" {
			return fmt.Errorf("%w: %q is a path, and so is --path %q", heap.ErrName, name, f.path)
		}
		opts.Path = name
		name = strings.TrimSuffix(filepath.Base(name), ".heap")
	}
	if !f.arena {
		opts.Kernel = nil
	}
	var err error
	if opts.Forbid, _, err = a.others(&f.othersFlags); err != nil {
		return err
	}
	if opts.Base == 0 {
		opts.Forbid = append(opts.Forbid, a.heapOccupants()...)
	}
	h, err := heap.Create(name, opts)
	if err != nil {
		return err
	}
	info, err := makeReady(h)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(newHeapJSON(info))
	}
	a.printf("made %s: %s at %s\nfile %s\n", info.Name, size(info.Size), hex(info.Base), info.Path)
	return nil
}

// makeReady opens the allocator once, so that the first user does not find
// out that it cannot be, and closes the heap.
func makeReady(h *heap.Heap) (heap.Info, error) {
	defer h.Close()
	a, err := alloc.Open(h)
	if err != nil {
		return heap.Info{}, err
	}
	if err := a.Close(); err != nil {
		return heap.Info{}, err
	}
	info, err := h.Info()
	info.Peers = 0 // without this process
	return info, err
}
