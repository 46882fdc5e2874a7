package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/shmheap/shmheap/internal/bench"
	"github.com/shmheap/shmheap/internal/queuebench"
	"github.com/spf13/cobra"
)

const benchAllLong = `Measure everything: what "bench alloc" and "bench queue" measure, one after the
other. With --report a page with plots is written, which needs nothing but
itself, and the same as JSON beside it. What is compared are ratios of one run,
and the page names the machine.

With --from nothing is measured: the report is made from JSON that was written
before, and --table prints the table of targets in Markdown, as README.md has it.`

const benchAllExample = `  shmheap bench all --peers --report report.html
  shmheap bench all --quick --report report.html
  shmheap bench all --from doc/bench.json --table`

// allFlags are the flags of bench all.
type allFlags struct {
	benchFlags
	realtime bool
	report   string
	from     string
	table    bool
}

func (a *app) benchAllCommand() *cobra.Command {
	var f allFlags
	cmd := &cobra.Command{
		Use:     "all",
		Short:   "Measure everything, and write a report with plots",
		Long:    benchAllLong,
		Example: benchAllExample,
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.quick {
				f.shorten(cmd)
			}
			return a.benchAll(cmd.Context(), &f)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.peers, "peers", false, "measure others too")
	flags.BoolVar(&f.quick, "quick", false, "one short round: shows that it works, not how well")
	flags.IntVar(&f.rounds, "rounds", 5, "how often everything is measured")
	flags.DurationVar(&f.time, "time", 300*time.Millisecond, "length of one measurement of the allocator")
	flags.StringVar(&f.only, "only", "", "measure only what matches the `REGEXP`: names of workloads, memory, recovery")
	flags.BoolVar(&f.realtime, "realtime", false, "measure queues at real-time priority")
	flags.StringVar(&f.report, "report", "", "write the report to this `file`, and JSON beside it")
	flags.StringVar(&f.from, "from", "", "measure nothing and read this `file` of JSON")
	flags.BoolVar(&f.table, "table", false, "print the table of targets in Markdown")
	cmd.MarkFlagsMutuallyExclusive("from", "peers")
	cmd.MarkFlagFilename("report", "html")
	cmd.MarkFlagFilename("from", "json")
	return cmd
}

func (a *app) benchAll(ctx context.Context, f *allFlags) error {
	j, err := a.allResults(ctx, f)
	if err != nil {
		return err
	}
	if f.report != "" {
		if err := a.writeReport(f.report, j); err != nil {
			return err
		}
	}
	switch {
	case a.json:
		return a.printJSON(j)
	case f.table:
		writeTargetTable(a.out, j)
	case f.report == "":
		a.printAll(j)
	}
	return nil
}

// allResults measures, or reads what was measured.
func (a *app) allResults(ctx context.Context, f *allFlags) (*benchAllJSON, error) {
	if f.from != "" {
		return readResults(f.from)
	}
	j := &benchAllJSON{Measured: time.Now().UTC().Truncate(time.Second)}
	alloc, err := a.measureAlloc(ctx, &f.benchFlags)
	if err != nil && !errors.Is(err, bench.ErrNothing) {
		return nil, err
	}
	if err == nil {
		j.Alloc = newBenchJSON(alloc)
		j.Machine = j.Alloc.Machine
	}
	q := queueFlags{peers: f.peers, quick: f.quick, realtime: f.realtime, rounds: f.rounds, only: f.only}
	queues, err := a.measureQueue(ctx, &q)
	if err != nil && !(errors.Is(err, queuebench.ErrNothing) && j.Alloc != nil) {
		return nil, err
	}
	if err == nil {
		r := queueReport(queues)
		j.Queue = &r
	}
	if j.Alloc == nil {
		j.Machine = benchMachineJSON(bench.DescribeMachine(ctx))
	}
	return j, nil
}

func readResults(file string) (*benchAllJSON, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	j := new(benchAllJSON)
	if err := json.Unmarshal(text, j); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return j, nil
}

// writeReport writes the page and the JSON beside it.
func (a *app) writeReport(file string, j *benchAllJSON) error {
	beside := strings.TrimSuffix(file, filepath.Ext(file)) + ".json"
	if err := writeFile(file, func(w io.Writer) error { return writePage(w, j) }); err != nil {
		return err
	}
	err := writeFile(beside, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(j)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(a.err, "written: %s and %s\n", file, beside)
	return nil
}

// printAll prints the targets, which are the short of everything.
func (a *app) printAll(j *benchAllJSON) {
	t := newTable(a.out, []any{"target", "bound", "measured", ""}, "bound", "measured")
	for _, x := range targetsOf(j) {
		t.AppendRow([]any{x.Name, x.Bound, x.Measured, x.Verdict})
	}
	t.Render()
}

// target is a line of a table of targets.
type target struct{ Name, Bound, Measured, Verdict string }

// targetsOf returns all that was measured and has a bound, of the allocator first.
func targetsOf(j *benchAllJSON) (all []target) {
	add := func(name string, atLeast bool, bound, measured, unit string, met bool) {
		sign := "<= "
		if atLeast {
			sign = ">= "
		}
		all = append(all, target{name, sign + bound + " " + unit, measured + " " + unit, verdict(met, "met", "missed")})
	}
	if j.Alloc != nil {
		for i := range j.Alloc.Targets {
			if x := &j.Alloc.Targets[i]; x.Measured != nil {
				add(x.Name, x.AtLeast, digits(x.Bound), digits(x.Measured.Median), short(x.Unit), x.Met)
			}
		}
	}
	if j.Queue != nil {
		for i := range j.Queue.Targets {
			if x := &j.Queue.Targets[i]; x.Why == "" {
				add(x.Name, x.AtLeast, digits(x.Bound), digits(x.Ratio), "x", x.Met)
			}
		}
	}
	return all
}

func short(unit string) string {
	if unit == "times" {
		return "x"
	}
	return unit
}

// writeTargetTable writes the targets in Markdown, below the machine that they were measured on.
func writeTargetTable(w io.Writer, j *benchAllJSON) {
	fmt.Fprintf(w, "%s\n\n| | bound | measured | |\n|---|---|---|---|\n", machineLine(&j.Machine))
	for _, x := range targetsOf(j) {
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", x.Name, x.Bound, x.Measured, x.Verdict)
	}
}

func machineLine(m *benchMachineJSON) string {
	return fmt.Sprintf("%s, %s, Linux %s, %s", m.CPU, plural(m.Processors, "processor", "processors"), m.Kernel, m.Go)
}
