package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/probe"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

const probeLong = `Show where a heap could be: the windows of addresses that are looked at, why
those, what is in each, and the base that "shmheap init NAME" would choose with
the same flags. Nothing is made or reserved.

With --pid, what running processes have mapped is left alone; with --profile,
what a program had mapped when "shmheap survey" started it many times, and
where its random mappings may come to lie. For each profile, the probability
that the program has something in a window or at the base is printed with
bounds of 95 % confidence.

What a process has mapped can only be seen by its own user (or root), and only
as it is now. A --pid that is gone, that belongs to another user, or that /proc
hides is an error; --ignore-unreadable goes on without it.`

const probeExample = `  shmheap probe
  shmheap probe orders --size 64GiB --pid 4711 --pid 4712
  shmheap probe --profile node.json --profile server.json
  shmheap probe --picture
  shmheap probe --svg addresses.svg --profile node.json`

// probeFlags are the flags of probe.
type probeFlags struct {
	othersFlags
	size    sizeValue
	above   bool
	svg     string
	picture bool
}

func (a *app) probeCommand() *cobra.Command {
	f := probeFlags{size: heap.DefaultSize}
	cmd := &cobra.Command{
		Use:     "probe [NAME]",
		Short:   "Show which addresses are free, here and in others",
		Long:    probeLong,
		Example: probeExample,
		Args:    arguments(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.probe(append(args, "")[0], &f)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	f.add(flags)
	flags.Var(&f.size, "size", "the size of the heap, such as 512MB or 4GiB")
	addAbove(flags, &f.above)
	flags.StringVar(&f.svg, "svg", "", "draw the address space into this `file`, - for the standard output")
	flags.BoolVar(&f.picture, "picture", false, "draw the address space with letters")
	for _, name := range []string{"svg", "profile"} {
		cmd.MarkFlagFilename(name)
	}
	return cmd
}

// outlook is what probe prints.
type outlook struct {
	*probe.Outlook
	heaps, others []probe.Occupant
	skipped       []skippedJSON
}

func (a *app) probe(name string, f *probeFlags) error {
	o, err := a.look(name, f)
	if err != nil {
		return err
	}
	if f.svg != "" {
		if err := a.put(f.svg, o.draw().SVG); err != nil {
			return err
		}
	}
	switch {
	case a.json:
		return a.printJSON(newProbeJSON(o))
	case f.picture:
		return o.draw().Text(a.out, a.out.columns())
	}
	a.printOutlook(o)
	return nil
}

func (a *app) look(name string, f *probeFlags) (*outlook, error) {
	others, skipped, err := a.others(&f.othersFlags)
	if err != nil {
		return nil, err
	}
	o := &outlook{heaps: a.heapOccupants(), others: others, skipped: skipped}
	size := (uint64(f.size) + probe.Guard - 1) / probe.Guard * probe.Guard
	o.Outlook, err = probe.Look(size, &probe.Options{Key: heap.BaseKey(name), Forbid: slices.Concat(o.heaps, others), Above: f.above})
	return o, err
}

// draw makes the picture of an outlook.
func (o *outlook) draw() *probe.Picture {
	title := fmt.Sprintf("Addresses of a process on %s/%s, and room for a heap of %s", runtime.GOOS, runtime.GOARCH, size(o.Size))
	return probe.NewPicture(title, o.Outlook, o.others, o.heaps)
}

// columns returns how many letters fit on a line.
func (o *output) columns() int {
	if f := o.terminal(); f != nil {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			return width
		}
	}
	if width, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && width > 0 {
		return min(width, 1000)
	}
	return 100
}

func (a *app) printOutlook(o *outlook) {
	if o.Base == 0 {
		a.printf("no window has room for %s\n\n", size(o.Size))
	} else {
		a.printf("a heap of %s would be at %s\n\n", size(o.Size), hex(o.Base))
	}
	t := newTable(a.out, table.Row{"", "window", "from", "to", "largest gap", "base"}, "largest gap")
	for i, w := range o.Windows {
		base := "no room"
		if w.Base != 0 {
			base = hex(w.Base)
		}
		t.AppendRow(table.Row{i + 1, w.Name, hex(w.Start), hex(w.End), size(w.Largest), base})
	}
	t.Render()
	for i, w := range o.Windows {
		a.printf("\n%d %s: %s\n", i+1, w.Name, w.Reason)
		a.printTaken(w.Taken)
	}
	a.printCollisions(o)
}

// printTaken lists what is in a window, for each occupant the first few.
func (a *app) printTaken(all []probe.Taken) {
	const few = 4
	counts := map[string]int{}
	for _, t := range all {
		counts[t.Occupant]++
	}
	shown := map[string]int{}
	for _, t := range all {
		switch shown[t.Occupant]++; {
		case shown[t.Occupant] <= few:
			a.printf("  %s: %v\n", t.Occupant, t.Obstacle)
		case shown[t.Occupant] == few+1:
			a.printf("  %s: and %d more\n", t.Occupant, counts[t.Occupant]-few)
		}
	}
	if len(all) == 0 {
		a.printf("  nothing is in it\n")
	}
}

// printCollisions prints, for each profile, how probable it is that the program
// has something in a window or at the base.
func (a *app) printCollisions(o *outlook) {
	for _, c := range newCollisions(o) {
		a.printf("\n%s has something, with 95 %% confidence\n", c.name)
		t := newTable(a.out, table.Row{})
		t.ResetHeaders()
		for _, r := range c.rows {
			t.AppendRow(table.Row{"  " + r.name, r.Estimate})
		}
		t.Render()
	}
}
