package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/shmheap/shmheap/internal/queuebench"
	"github.com/spf13/cobra"
)

const benchQueueLong = `Measure queues, mailboxes, broadcast rings and mutexes between processes: elements
a second, and the time of a round trip.

With --peers the same is done with Boost.Lockfree, Boost.Interprocess, pipes, unix
sockets, eventfd, futexes, POSIX message queues, and bare lines of memory that bounce
between two processors, which is the physical limit. The peers are one program in
C++ that is compiled first: install g++ and libboost-dev.

Each process runs on a processor of its own. On a machine that others use too,
--realtime puts them in front of everything else while they are measured, for
fractions of a second; it needs root. Nothing is left behind, also after Ctrl-C.`

const benchQueueExample = `  shmheap bench queue --peers
  shmheap bench queue --peers --realtime --only 'spsc|batch'
  shmheap bench queue --quick --json | jq '.targets[] | {name, ratio}'`

// queueFlags are the flags of bench queue.
type queueFlags struct {
	peers, quick, realtime bool
	rounds                 int
	only                   string
}

func (a *app) benchQueueCommand() *cobra.Command {
	var f queueFlags
	cmd := &cobra.Command{
		Use:     "queue",
		Short:   "Measure queues and locks",
		Long:    benchQueueLong,
		Example: benchQueueExample,
		Args:    arguments(0, 0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.benchQueue(cmd.Context(), &f) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.peers, "peers", false, "measure others too")
	flags.BoolVar(&f.quick, "quick", false, "one short round: shows that it works, not how well")
	flags.BoolVar(&f.realtime, "realtime", false, "measure at real-time priority")
	flags.IntVar(&f.rounds, "rounds", 5, "`times` that everything is measured")
	flags.StringVar(&f.only, "only", "", "measure the workloads whose names match a regular `expression`")
	return cmd
}

func (a *app) benchQueue(ctx context.Context, f *queueFlags) error {
	report, err := a.measureQueue(ctx, f)
	switch {
	case err != nil:
		return err
	case a.json:
		return a.printJSON(queueReport(report))
	}
	a.printQueueReport(report)
	return nil
}

func (a *app) measureQueue(ctx context.Context, f *queueFlags) (*queuebench.Report, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	progress := newProgress(a.err, "measurements")
	cfg := &queuebench.Config{
		HeapDir: a.dir, Peers: f.peers, Rounds: max(f.rounds, 1), RealTime: f.realtime, Progress: progress.set,
		Command: func(j *queuebench.Job, name string) *exec.Cmd {
			args := append([]string{"bench", queueWorkerName, name, "--dir", a.dir, "--"}, j.Args()...)
			return exec.Command(program, args...)
		},
	}
	if f.quick {
		cfg.Rounds, cfg.Divide = 1, 100
	}
	if f.only != "" {
		if cfg.Only, err = regexp.Compile(f.only); err != nil {
			return nil, fmt.Errorf("--only: %w", err)
		}
	}
	report, err := queuebench.Run(ctx, cfg)
	progress.end()
	return report, err
}

func (a *app) printQueueReport(r *queuebench.Report) {
	if r.Missing != "" {
		a.printf("The peers are missing: %s\n\n", r.Missing)
	}
	for _, m := range r.Workloads {
		a.printf("%s: %s\n", m.Name, m.About)
		unit, value := "M/s", func(ns float64) float64 { return 1e3 / ns }
		if m.Latency {
			unit, value = "ns", func(ns float64) float64 { return ns }
		}
		t := newTable(a.out, table.Row{"", unit + ", best", "median"}, unit+", best", "median")
		for _, row := range m.Rows {
			if len(row.Values) == 0 {
				t.AppendRow(table.Row{row.Name, row.Why})
				continue
			}
			t.AppendRow(table.Row{row.Name, fmt.Sprintf("%.1f", value(row.Best())), fmt.Sprintf("%.1f", value(row.Median()))})
		}
		t.Render()
		a.printf("\n")
	}
	a.printQueueTargets(r.Targets)
}

func (a *app) printQueueTargets(targets []queuebench.Target) {
	t := newTable(a.out, table.Row{"target", "bound", "measured", ""}, "bound", "measured")
	for i := range targets {
		x := &targets[i]
		bound, measured, met := fmt.Sprintf("<= %.1f x", x.Bound), fmt.Sprintf("%.2f x", x.Ratio), "met"
		if x.AtLeast {
			bound = fmt.Sprintf(">= %.1f x", x.Bound)
		}
		switch {
		case x.Why != "":
			measured, met = x.Why, ""
		case !x.Met():
			met = "missed"
		}
		t.AppendRow(table.Row{x.Name, bound, measured, met})
	}
	t.Render()
}

const queueWorkerName = "queue-worker"

// benchQueueWorkerCommand is what the benchmarks run their own program with.
func (a *app) benchQueueWorkerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    queueWorkerName + " HEAP JOB...",
		Short:  "A process of the benchmarks",
		Hidden: true,
		Args:   cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			signal.Ignore(os.Interrupt) // it reaches the whole group, but ending us is up to the parent
			a.args = nil
			job, err := queuebench.ParseJob(args[1:])
			if err != nil {
				return err
			}
			go func() {
				_, err := io.Copy(io.Discard, os.Stdin)
				fmt.Fprintln(a.err, errors.Join(errors.New("the parent is gone"), err))
				os.Exit(exitFailed)
			}()
			return queuebench.Work(job, args[0], a.options(), a.out)
		},
	}
}
