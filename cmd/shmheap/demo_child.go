package main

import (
	"os"
	"os/signal"
	"time"

	"github.com/shmheap/shmheap/internal/demo"
	"github.com/spf13/cobra"
)

// childCommand is what the demo runs its own program with.
func (a *app) childCommand(role demo.Role) *cobra.Command {
	var pace time.Duration
	cmd := &cobra.Command{
		Use:    string(role) + " NAME",
		Short:  "A process of the demo; only the demo can talk to it",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			// Ctrl-C reaches the whole process group, but ending us is
			// up to the parent.
			signal.Ignore(os.Interrupt)
			a.args = nil // the heap's name is of no use in a hint
			orphaned := func() { os.Exit(exitFailed) }
			link := demo.NewLink(os.Stdin, os.Stdout, orphaned)
			return demo.Serve(cmd.Context(), role, args[0], a.options(), link, pace)
		},
	}
	cmd.Flags().DurationVar(&pace, "pace", 0, "rest in each file")
	return cmd
}
