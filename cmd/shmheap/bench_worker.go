package main

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"

	"github.com/shmheap/shmheap/internal/bench"
	"github.com/spf13/cobra"
)

const benchWorkerName = "worker"

// benchWorkerCommand is what the benchmarks run their own program with.
func (a *app) benchWorkerCommand() *cobra.Command {
	var profile string
	cmd := &cobra.Command{
		Use:    benchWorkerName + " HEAP JOB...",
		Short:  "A process of the benchmarks",
		Hidden: true,
		Args:   cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			// Ctrl-C reaches the whole process group, but ending us is
			// up to the parent.
			signal.Ignore(os.Interrupt)
			a.args = nil // the heap's name is of no use in a hint
			job, err := bench.ParseJob(args[1:])
			if err != nil {
				return err
			}
			go func() {
				io.Copy(io.Discard, os.Stdin)
				os.Exit(exitFailed) // the parent is gone
			}()
			return profiled(profile, func() error { return bench.Work(job, args[0], a.options(), os.Stdout) })
		},
	}
	cmd.Flags().StringVar(&profile, "profile", "", "write a profile of the processor's time to `FILE`")
	return cmd
}

// profiled calls f and writes a profile of it, unless the path is "".
func profiled(path string, f func() error) error {
	if path == "" {
		return f()
	}
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return errors.Join(err, out.Close())
	}
	err = f()
	pprof.StopCPUProfile()
	return errors.Join(err, out.Close())
}
