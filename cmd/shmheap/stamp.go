package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/shmheap/shmheap/internal/launch"
	stamper "github.com/shmheap/shmheap/internal/stamp"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/probe"
	"github.com/spf13/cobra"
)

const stampLong = `Write the addresses of heaps into a copy of a program, so that the kernel
reserves them whenever the copy is executed, before its first instruction. The
library finds such a reservation and takes it over. Nothing else of the program
changes, and it costs nothing when it runs.

Only programs for Linux with a fixed address can be stamped: Go programs as they
are built by default for Linux without cgo, and C programs linked with -no-pie.
For others there is "shmheap run".

Stamp anew when the heap is made anew at another base, beginning with the
original. Signed programs have to be signed after they were stamped.`

const stampExample = `  shmheap stamp server --heap orders
  shmheap stamp server -o server --heap orders --heap prices
  shmheap stamp server -o bin/server --base 0x5500_0000_0000 --size 64GiB`

var errNotFile = errors.New("is not a regular file, and a program cannot be written there")

// stampFlags are the flags of stamp.
type stampFlags struct {
	heaps []string
	base  addressValue
	size  sizeValue
	out   string
}

// stampJSON is what "stamp --json" prints.
type stampJSON struct {
	Path     string      `json:"path"`
	Reserved []rangeJSON `json:"reserved"`
}

type rangeJSON struct {
	Base string `json:"base"` // hexadecimal
	Size uint64 `json:"size"`
}

func (a *app) stampCommand() *cobra.Command {
	var f stampFlags
	cmd := &cobra.Command{
		Use:     "stamp PROGRAM",
		Short:   "Make a copy of a program that reserves the addresses of heaps",
		Long:    stampLong,
		Example: stampExample,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := checkRange(f.base, f.size, len(f.heaps)); err != nil {
				return err
			}
			return arguments(1, 1)(cmd, args)
		},
		RunE: func(_ *cobra.Command, args []string) error {
			return a.stamp(args[0], &f)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.heaps, "heap", nil, "reserve the addresses of this heap; can be repeated")
	flags.StringVarP(&f.out, "output", "o", "", "the `file` to write, which may be PROGRAM itself (default PROGRAM.stamped)")
	addRange(cmd, &f.base, &f.size)
	return cmd
}

// stamp makes the copy.
func (a *app) stamp(program string, f *stampFlags) error {
	ranges, err := a.ranges(f.heaps, f.base, f.size)
	if err != nil {
		return err
	}
	out := f.out
	if out == "" {
		out = program + ".stamped"
	}
	if err := stampTo(out, program, ranges); err != nil {
		return fmt.Errorf("stamp %s: %w", program, err)
	}
	if a.json {
		return a.printJSON(newStampJSON(out, ranges))
	}
	for _, r := range ranges {
		a.printf("%s reserves %s at %s\n", out, size(r.Size()), hex(r.Start))
	}
	return nil
}

func newStampJSON(path string, ranges []probe.Range) stampJSON {
	j := stampJSON{Path: path}
	for _, r := range ranges {
		j.Reserved = append(j.Reserved, rangeJSON{hex(r.Start), r.Size()})
	}
	return j
}

// stampTo writes the stamped program to out: whole or not at all, also when out is program.
func stampTo(out, program string, ranges []probe.Range) error {
	f, err := os.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	privileged, err := sys.Privileged(f)
	if err != nil {
		return err
	}
	if privileged {
		return fmt.Errorf("it %w, which the copy would lose", launch.ErrPrivileged)
	}
	target, special, err := outputTo(out)
	if err != nil {
		return err
	}
	if special {
		return fmt.Errorf("%s %w", out, errNotFile)
	}
	return replaceFile(target, func(to *os.File) error { return stampInto(to, f, ranges) })
}

func stampInto(to, program *os.File, ranges []probe.Range) error {
	info, err := program.Stat()
	if err != nil {
		return err
	}
	stamps := make([]stamper.Range, len(ranges))
	for i, r := range ranges {
		stamps[i] = stamper.Range{Base: r.Start, Size: r.Size()}
	}
	if err := stamper.Copy(to, program, stamps...); err != nil {
		return err
	}
	return errors.Join(to.Chmod(info.Mode().Perm()), to.Sync())
}
