package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/shmheap/shmheap/internal/bench"
	"github.com/spf13/cobra"
)

const benchAllocLong = `Measure the allocator: operations a second and the latencies of alloc and free
in each workload, what it needs for its tables, what it gives back to the
system, and what the death of a process costs the others.

With --peers the same loops run over mimalloc, jemalloc, glibc, Boost.Interprocess
with relative and with raw pointers, and Go's own memory. The programs of the
peers are compiled first: install g++, libmimalloc-dev, libjemalloc-dev and
libboost-dev. A peer that is missing has a line that says why.

Workers are processes over a shared heap and threads over a private one, each
on a processor of its own. Nothing is left behind, also after Ctrl-C.`

const benchAllocExample = `  shmheap bench alloc --peers
  shmheap bench alloc --peers --only 'pairs|xproc'
  shmheap bench alloc --quick --json | jq '.targets[] | {name, met}'
  shmheap bench alloc --peers --markdown >numbers.md
  shmheap bench alloc --only mixed/1 --rounds 1 --time 5s --profile .
  go tool pprof -top cache-replace-mixed-1-0.pprof`

// benchFlags are the flags of the benchmarks.
type benchFlags struct {
	peers, quick, markdown, list bool
	rounds                       int
	time                         time.Duration
	only, profile                string
}

// What --quick stands for.
const (
	quickRounds = 1
	quickTime   = 30 * time.Millisecond
)

func (a *app) benchAllocCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:     "alloc",
		Short:   "Measure the allocator",
		Long:    benchAllocLong,
		Example: benchAllocExample,
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.quick {
				f.shorten(cmd)
			}
			if f.list {
				return a.printWorkloads(f.markdown)
			}
			return a.benchAlloc(cmd.Context(), &f)
		},
	}
	f.register(cmd)
	return cmd
}

func (f *benchFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&f.peers, "peers", false, "measure other allocators too")
	flags.BoolVar(&f.quick, "quick", false, "one short round: shows that it works, not how well")
	flags.IntVar(&f.rounds, "rounds", 5, "how often everything is measured")
	flags.DurationVar(&f.time, "time", 300*time.Millisecond, "length of one measurement")
	flags.StringVar(&f.only, "only", "", "measure only what matches the `REGEXP`: names of workloads, memory, recovery")
	flags.BoolVar(&f.list, "list", false, "say what the workloads are, and measure nothing")
	flags.StringVar(&f.profile, "profile", "", "let our workers write profiles of the processor's time to `DIR`; take a --time of seconds")
	flags.BoolVar(&f.markdown, "markdown", false, "print tables in Markdown")
}

// shorten sets what was not asked for.
func (f *benchFlags) shorten(cmd *cobra.Command) {
	if !cmd.Flags().Changed("rounds") {
		f.rounds = quickRounds
	}
	if !cmd.Flags().Changed("time") {
		f.time = quickTime
	}
}

var errBenchFlags = errors.New("impossible to measure")

// config checks the flags.
func (f *benchFlags) config() (*bench.Config, error) {
	if f.rounds < 1 || f.time < time.Millisecond {
		return nil, fmt.Errorf("%w: %d rounds of %v", errBenchFlags, f.rounds, f.time)
	}
	only, err := regexp.Compile(f.only)
	if err != nil {
		return nil, fmt.Errorf("%w: --only: %w", errBenchFlags, err)
	}
	return &bench.Config{Peers: f.peers, Rounds: f.rounds, Time: f.time, Only: only}, nil
}

// benchAlloc measures and prints the report.
func (a *app) benchAlloc(ctx context.Context, f *benchFlags) error {
	report, err := a.measureAlloc(ctx, f)
	if err != nil {
		return err
	}
	if err := a.printBench(report, f.markdown); err != nil {
		return err
	}
	return missingInCI(report)
}

func (a *app) measureAlloc(ctx context.Context, f *benchFlags) (*bench.Report, error) {
	cfg, err := f.config()
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	progress := newProgress(a.err, "measurements")
	cfg.HeapDir, cfg.Progress = a.dir, progress.set
	cfg.Command = func(job *bench.Job, name string) *exec.Cmd {
		args := []string{"bench", benchWorkerName, "--dir", a.dir, "--profile", f.profileOf(job), "--", name}
		return exec.Command(program, append(args, job.Args()...)...)
	}
	report, err := bench.Run(ctx, cfg)
	progress.end()
	return report, err
}

// profileOf returns the file for the profile of a job, "" for none. Later rounds write over earlier ones, and
// jobs that read the clock all the time have none.
func (f *benchFlags) profileOf(job *bench.Job) string {
	if f.profile == "" || job.Timed {
		return ""
	}
	return filepath.Join(f.profile, fmt.Sprintf("%s-%s-%s-%d-%d.pprof", job.Subject, job.Loop, job.Sizes, job.Workers, job.Worker))
}

// missingInCI makes a peer that does not run an error where CI is set: there, all are installed.
func missingInCI(r *bench.Report) error {
	if os.Getenv("CI") == "" {
		return nil
	}
	var missing []string
	for _, p := range r.Peers {
		if p.Missing != "" {
			missing = append(missing, p.Name+": "+p.Missing)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("peers do not run: %s", strings.Join(missing, "; "))
}
