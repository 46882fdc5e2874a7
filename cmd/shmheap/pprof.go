package main

import (
	"fmt"
	"io"
	"time"

	"github.com/google/pprof/profile"
	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/spf13/cobra"
)

const pprofLong = `Write which lines of which programs hold the memory of a heap, in the format
that "go tool pprof" and others read. The processes may be dead: what they
allocated is there until it is freed.

The heap remembers only what was allocated while it had a rate: with --rate,
about one block of so many allocated bytes, in all processes. With --off it
has none any more. Programs call SetProfileRate for the same.`

const pprofExample = `  shmheap pprof orders --rate 512KiB
  shmheap pprof orders -o orders.pb.gz && go tool pprof -top orders.pb.gz
  shmheap pprof orders --off`

// pprofFlags are the flags of pprof.
type pprofFlags struct {
	output string
	rate   sizeValue
	off    bool
}

func (a *app) pprofCommand() *cobra.Command {
	var f pprofFlags
	cmd := a.oneName(&cobra.Command{
		Use:     "pprof NAME",
		Short:   "Write which lines of which programs hold the memory",
		Long:    pprofLong,
		Example: pprofExample,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.attached(args[0], func(h *heap.Heap) error {
				return withAllocator(h, func(al *alloc.Allocator) error { return a.pprof(al, &f) })
			})
		},
	})
	flags := cmd.Flags()
	flags.StringVarP(&f.output, "output", "o", "", "write the profile to this `file`, - for the standard output")
	flags.Var(&f.rate, "rate", "remember one block of about so many allocated bytes, such as 512KiB")
	flags.BoolVar(&f.off, "off", false, "remember no more blocks")
	cmd.MarkFlagsOneRequired("output", "rate", "off")
	cmd.MarkFlagsMutuallyExclusive("rate", "off")
	cmd.MarkFlagFilename("output")
	return cmd
}

func (a *app) pprof(al *alloc.Allocator, f *pprofFlags) error {
	if f.rate != 0 || f.off {
		if err := al.SetProfileRate(uint64(f.rate)); err != nil {
			return err
		}
	}
	j := pprofJSON{Output: f.output, Rate: al.ProfileRate()}
	if f.output == "" {
		return a.printPprof(j)
	}
	samples, err := al.Profile()
	if err != nil {
		return err
	}
	if err := a.put(f.output, func(w io.Writer) error { return writeProfile(w, samples, j.Rate) }); err != nil {
		return err
	}
	for _, s := range samples {
		j.Sites, j.Samples, j.Bytes = j.Sites+1, j.Samples+s.Sampled, j.Bytes+s.Bytes
	}
	return a.printPprof(j)
}

// pprofJSON is what "pprof --json" prints.
type pprofJSON struct {
	Output  string `json:"output"`  // the file of the profile, "" without
	Rate    uint64 `json:"rate"`    // bytes allocated for each sample, 0: none
	Sites   int    `json:"sites"`   // places in programs
	Samples uint64 `json:"samples"` // blocks in use that were remembered
	Bytes   uint64 `json:"bytes"`   // estimate of those for which they stand
}

func (a *app) printPprof(j pprofJSON) error {
	switch {
	case a.json:
		return a.printJSON(j)
	case j.Output == "" && j.Rate == 0:
		a.printf("no more blocks are remembered\n")
	case j.Output == "":
		a.printf("about one block of %s allocated is remembered from now on\n", size(j.Rate))
	case j.Sites == 0 && j.Rate == 0:
		a.printf("%s is empty: the heap has no rate, so nothing was remembered; give it one with --rate 512KiB\n", j.Output)
	default:
		a.printf("%s: %s in programs hold about %s\n", j.Output, plural(j.Sites, "place", "places"), size(j.Bytes))
	}
	return nil
}

// writeProfile writes what "go tool pprof" reads.
func writeProfile(w io.Writer, samples []alloc.Sample, rate uint64) error {
	p := &profile.Profile{
		SampleType: []*profile.ValueType{{Type: "inuse_objects", Unit: "count"}, {Type: "inuse_space", Unit: "bytes"}},
		PeriodType: &profile.ValueType{Type: "space", Unit: "bytes"},
		Period:     int64(rate), TimeNanos: time.Now().UnixNano(), DefaultSampleType: "inuse_space",
	}
	l := locations{p: p, known: make(map[alloc.Frame]*profile.Location), functions: make(map[string]*profile.Function)}
	for _, s := range samples {
		sample := &profile.Sample{Value: []int64{int64(s.Blocks), int64(s.Bytes)}}
		if s.Peer != 0 {
			sample.Label = map[string][]string{"peer": {s.Peer.String()}, "program": {s.Program}}
		} else {
			s.Stack = []alloc.Frame{{Function: "(unknown)"}}
		}
		for _, f := range s.Stack {
			sample.Location = append(sample.Location, l.of(f))
		}
		p.Sample = append(p.Sample, sample)
	}
	if err := p.CheckValid(); err != nil {
		return fmt.Errorf("make profile: %w", err)
	}
	return p.Write(w)
}

// locations gives each frame and function its number.
type locations struct {
	p         *profile.Profile
	known     map[alloc.Frame]*profile.Location
	functions map[string]*profile.Function
}

func (l *locations) of(f alloc.Frame) *profile.Location {
	if l.known[f] == nil {
		l.known[f] = &profile.Location{
			ID: uint64(len(l.known) + 1), Line: []profile.Line{{Function: l.function(f), Line: int64(f.Line)}},
		}
		l.p.Location = append(l.p.Location, l.known[f])
	}
	return l.known[f]
}

func (l *locations) function(f alloc.Frame) *profile.Function {
	key := f.Function + "\t" + f.File
	if l.functions[key] == nil {
		l.functions[key] = &profile.Function{
			ID: uint64(len(l.functions) + 1), Name: f.Function, SystemName: f.Function, Filename: f.File,
		}
		l.p.Function = append(l.p.Function, l.functions[key])
	}
	return l.functions[key]
}
