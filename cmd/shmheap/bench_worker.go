package main

import (
	"io"
	"os"
	"os/signal"

	"github.com/shmheap/shmheap/internal/bench"
	"github.com/spf13/cobra"
)

const benchWorkerName = "worker"

// benchWorkerCommand is what the benchmarks run their own program with.
func (a *app) benchWorkerCommand() *cobra.Command {
	return &cobra.Command{
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
			return bench.Work(job, args[0], a.options(), os.Stdout)
		},
	}
}
