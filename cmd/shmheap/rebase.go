package main

import (
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/probe"
	"github.com/spf13/cobra"
)

const rebaseLong = `Give a heap that no process has open another base: the address that it has in
every process. This is for heaps whose programs keep offsets in them. It looks
through all blocks in use for words that are addresses in the heap, and refuses
to move a heap that has any: they would lead to the old place.

Without --base, the base is chosen as by "shmheap init", where this process has
nothing; with --pid and --profile, where those have nothing either.

With --dry-run, nothing is changed. With --ignore-pointers, the heap is moved
all the same; a number may look like an address by chance.`

const rebaseExample = `  shmheap rebase orders --base 0x5530_0000_0000
  shmheap rebase orders --pid 4711
  shmheap rebase orders --dry-run`

// rebaseJSON is what "rebase --json" prints.
type rebaseJSON struct {
	Name   string `json:"name"`
	From   string `json:"from"`
	To     string `json:"to"`
	Moved  bool   `json:"moved"`
	Blocks uint64 `json:"blocks"`
	Bytes  uint64 `json:"bytes"`
}

// rebaseFlags are the flags of rebase.
type rebaseFlags struct {
	othersFlags
	base          addressValue
	dry, pointers bool
}

func (a *app) rebaseCommand() *cobra.Command {
	var f rebaseFlags
	cmd := a.oneName(&cobra.Command{
		Use:     "rebase NAME",
		Short:   "Give a heap that holds no raw pointers another base",
		Long:    rebaseLong,
		Example: rebaseExample,
		RunE:    func(cmd *cobra.Command, args []string) error { return a.rebase(cmd, args[0], &f) },
	})
	flags := cmd.Flags()
	f.add(flags)
	flags.Var(&f.base, "base", "the new address of the heap, such as 0x5530_0000_0000")
	flags.BoolVar(&f.dry, "dry-run", false, "look for raw pointers and change nothing")
	flags.BoolVar(&f.pointers, "ignore-pointers", false, "move the heap although words in it look like raw pointers")
	cmd.MarkFlagFilename("profile")
	return cmd
}

func (a *app) rebase(cmd *cobra.Command, name string, f *rebaseFlags) error {
	info, err := heap.Stat(name, a.options())
	if err != nil {
		return err
	}
	base := uint64(f.base)
	if base == 0 {
		if base, err = a.chooseBase(&info, f); err != nil {
			return err
		}
	}
	done, err := alloc.Rebase(cmd.Context(), name, base, &alloc.RebaseOptions{
		Heap: a.options(), DryRun: f.dry, Pointers: f.pointers,
	})
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(rebaseJSON{info.Name, hex(done.From), hex(done.To), !f.dry, done.Blocks, done.Scanned})
	}
	what := "moved"
	if f.dry {
		what = "can be moved"
	}
	a.printf("%s %s from %s to %s: %s searched (%s)\n", info.Name, what, hex(done.From), hex(done.To),
		plural(done.Blocks, "block", "blocks"), size(done.Scanned))
	return nil
}

// chooseBase finds a base that is free here and in the others.
func (a *app) chooseBase(info *heap.Info, f *rebaseFlags) (uint64, error) {
	forbid, _, err := a.others(&f.othersFlags)
	if err != nil {
		return 0, err
	}
	r, err := probe.Find(info.Size, &probe.Options{Key: heap.BaseKey(info.Name), Forbid: append(forbid, a.heapOccupants()...)})
	if err != nil {
		return 0, fmt.Errorf("find a base: %w", err)
	}
	return r.Range().Start, errors.Join(err, r.Release())
}
