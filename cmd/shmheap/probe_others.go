package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/probe"
	"github.com/spf13/pflag"
)

// othersFlags name the processes and programs that are to join a heap.
type othersFlags struct {
	pids     []int
	profiles []string
	lenient  bool
}

func (f *othersFlags) add(flags *pflag.FlagSet) {
	flags.IntSliceVar(&f.pids, "pid", nil, "leave alone what the process `PID` has mapped (can be repeated)")
	flags.StringArrayVar(&f.profiles, "profile", nil, "leave alone what the program of this `file` of shmheap survey may map (can be repeated)")
	flags.BoolVar(&f.lenient, "ignore-unreadable", false, "go on without a --pid that is gone or cannot be looked at")
}

// addAbove adds the flag for bases that the kernel does not give out unasked.
func addAbove(flags *pflag.FlagSet, above *bool) {
	flags.BoolVar(above, "above", false, "look above the addresses that the kernel gives out unasked")
}

// skippedJSON is a process that was left out.
type skippedJSON struct {
	PID   int    `json:"pid"`
	Error string `json:"error"`
}

// others reads what the flags name. Processes that cannot be read are an error,
// because a base that is chosen without them is not what was asked for; with
// --ignore-unreadable they are returned as skipped, and a warning is printed.
func (a *app) others(f *othersFlags) (all []probe.Occupant, skipped []skippedJSON, err error) {
	for _, pid := range f.pids {
		o, err := probe.ProcessOccupant(pid)
		switch {
		case err == nil:
			all = append(all, o)
		case f.lenient && !errors.Is(err, errors.ErrUnsupported):
			fmt.Fprintf(a.err, "warning: going on without it: %v\n", err)
			skipped = append(skipped, skippedJSON{pid, err.Error()})
		default:
			return nil, nil, err
		}
	}
	for _, file := range f.profiles {
		p, err := probe.LoadProfile(file)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", errNoProfile, err)
		}
		if err != nil {
			return nil, nil, err
		}
		a.doubt(file, p)
		all = append(all, p.Occupant(filepath.Base(file)))
	}
	return all, skipped, nil
}

// doubt says why a profile may tell little about programs that are started now.
func (a *app) doubt(file string, p *probe.Profile) {
	for _, difference := range p.Settings.Differ(probe.CurrentSettings()) {
		fmt.Fprintf(a.err, "warning: profile %s may not hold here: %s\n", file, difference)
	}
	if p.Unsettled > 0 {
		fmt.Fprintf(a.err, "warning: profile %s: %d of %d runs were not quiet at their time limit\n", file, p.Unsettled, len(p.Runs))
	}
}

// heapOccupants returns the heaps in the private directory. One that cannot be
// read has no known place, and is left out.
func (a *app) heapOccupants() []probe.Occupant {
	infos, err := heap.List(a.options())
	if err != nil {
		return nil
	}
	var all []probe.Occupant
	for _, i := range infos {
		if i.Err == nil {
			m := probe.Mapping{Range: probe.Range{Start: i.Base, End: i.Base + i.Size}, Path: i.Path}
			all = append(all, probe.NewOccupant("heap "+i.Name, []probe.Mapping{m}))
		}
	}
	return all
}
