package main

import (
	"context"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/spf13/cobra"
)

const leaksLong = `List the blocks of a heap that nothing leads to: neither a named root nor a
block that is reachable from one. A word of a block leads to another block if it
is an address in it; with --offsets also if it is an offset into the heap.

No other process may be attached, and none can attach meanwhile. What a process
keeps only outside the heap, or packs with other bits, is not seen. Nothing is
changed, except that what dead peers held is returned first.`

const leaksExample = `  shmheap leaks orders
  shmheap leaks orders --offsets
  shmheap leaks orders --json | jq .bytes`

const collectLong = `Free the blocks of a heap that nothing leads to, such as those that a process
leaked which was killed at the wrong moment. See "shmheap leaks" for what counts
as leading to a block; it lists what this command frees.

Programs that keep offsets instead of addresses, and the queues of this library,
need --offsets: without it everything that only an offset leads to is lost.

No other process may be attached, and none can attach meanwhile. Killed half
way, the command has freed some blocks; run it again for the others.`

const collectExample = `  shmheap collect orders
  shmheap collect orders --offsets
  shmheap collect orders --keep 0x1d00040 --keep 0x1d10000`

// collectFlags are the flags of leaks and collect.
type collectFlags struct {
	offsets bool
	keep    []string
}

func (f *collectFlags) add(cmd *cobra.Command) *cobra.Command {
	flags := cmd.Flags()
	flags.BoolVar(&f.offsets, "offsets", false, "offsets lead to blocks too")
	flags.StringSliceVar(&f.keep, "keep", nil, "keep what this `offset` from the base leads to, as if a root did")
	return cmd
}

// leakJSON is one kind of leak as "leaks --json" prints it.
type leakJSON struct {
	Size   uint64 `json:"size"`
	Arena  bool   `json:"arena"`
	Site   string `json:"site,omitempty"` // where they were allocated
	Blocks uint64 `json:"blocks"`
	Bytes  uint64 `json:"bytes"`
}

// reachJSON is what was reached from a root and from none before it.
type reachJSON struct {
	Root   string `json:"root"` // "" for what else is kept
	Type   string `json:"type"`
	Blocks uint64 `json:"blocks"`
	Bytes  uint64 `json:"bytes"`
}

// collectedJSON is what "leaks --json" and "collect --json" print.
type collectedJSON struct {
	Name    string      `json:"name"`
	Freed   bool        `json:"freed"`
	Blocks  uint64      `json:"blocks"`
	Bytes   uint64      `json:"bytes"`
	Leaks   []leakJSON  `json:"leaks"`
	Reached []reachJSON `json:"reached"`
	Scanned uint64      `json:"scanned"`
}

func newCollectedJSON(name string, freed bool, c alloc.Collected) collectedJSON {
	j := collectedJSON{
		Name: name, Freed: freed, Blocks: c.Blocks, Bytes: c.Bytes, Scanned: c.Scanned,
		Leaks: []leakJSON{}, Reached: []reachJSON{},
	}
	for _, l := range c.Leaks {
		j.Leaks = append(j.Leaks, leakJSON{Size: l.Size, Arena: l.Arena, Site: l.Site, Blocks: l.Blocks, Bytes: l.Bytes})
	}
	for _, r := range c.Reached {
		j.Reached = append(j.Reached, reachJSON{Root: r.Name, Type: r.Type, Blocks: r.Blocks, Bytes: r.Bytes})
	}
	return j
}

func (a *app) leaksCommand() *cobra.Command {
	var f collectFlags
	return f.add(a.oneName(&cobra.Command{
		Use:     "leaks NAME",
		Short:   "List the blocks that nothing leads to",
		Long:    leaksLong,
		Example: leaksExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.collect(cmd.Context(), args[0], &f, true)
		},
	}))
}

func (a *app) collectCommand() *cobra.Command {
	var f collectFlags
	return f.add(a.oneName(&cobra.Command{
		Use:     "collect NAME",
		Short:   "Free the blocks that nothing leads to",
		Long:    collectLong,
		Example: collectExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.collect(cmd.Context(), args[0], &f, false)
		},
	}))
}

func (a *app) collect(ctx context.Context, name string, f *collectFlags, dry bool) error {
	o := alloc.CollectOptions{DryRun: dry, Offsets: f.offsets}
	for _, text := range f.keep {
		var off addressValue
		if err := off.Set(text); err != nil {
			a.ready = false // wrong usage
			return err
		}
		o.Roots = append(o.Roots, uint64(off))
	}
	bar := newProgress(a.err, "MiB")
	o.Progress = func(p alloc.CollectProgress) { bar.set(int(p.Scanned>>20), int(p.InUse>>20)) }
	var c alloc.Collected
	err := a.attached(name, func(h *heap.Heap) error {
		name = h.Name()
		return withAllocator(h, func(al *alloc.Allocator) (err error) {
			c, err = al.Collect(ctx, &o)
			return err
		})
	})
	bar.end()
	if err != nil {
		return err
	}
	j := newCollectedJSON(name, !dry, c)
	if a.json {
		return a.printJSON(j)
	}
	a.printCollected(&j)
	return nil
}

func (a *app) printCollected(j *collectedJSON) {
	if j.Blocks == 0 {
		a.printf("nothing is unreachable\n")
		return
	}
	t := newTable(a.out, table.Row{"size", "blocks", "bytes", "what"}, "size", "blocks", "bytes")
	for _, l := range j.Leaks {
		what := l.Site
		if l.Arena {
			what = "arena " + what
		}
		t.AppendRow(table.Row{size(l.Size), number(l.Blocks), size(l.Bytes), what})
	}
	t.Render()
	verb := "leaked"
	if j.Freed {
		verb = "freed"
	}
	a.printf("%s: %s, %s\n", verb, plural(j.Blocks, "block", "blocks"), size(j.Bytes))
}
