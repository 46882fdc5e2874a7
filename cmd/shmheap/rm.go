package main

import (
	"github.com/shmheap/shmheap/heap"
	"github.com/spf13/cobra"
)

const rmLong = `Remove a heap. One that processes are attached to is only removed with --force:
they keep their mapping, and its memory is freed when the last of them ends.`

const rmExample = `  shmheap rm orders
  shmheap rm orders --force
  shmheap rm ./here.heap`

// rmJSON is what "rm --json" prints.
type rmJSON struct {
	Name    string `json:"name"`
	Removed bool   `json:"removed"`
}

func (a *app) rmCommand() *cobra.Command {
	var force bool
	cmd := a.oneName(&cobra.Command{
		Use:     "rm NAME",
		Aliases: []string{"remove"},
		Short:   "Remove a heap",
		Long:    rmLong,
		Example: rmExample,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.rm(args[0], force)
		},
	})
	cmd.Flags().BoolVar(&force, "force", false, "remove the heap although processes are attached")
	return cmd
}

// rm removes one heap.
func (a *app) rm(name string, force bool) error {
	opts := a.options()
	opts.Force = force
	if err := heap.Remove(name, opts); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(rmJSON{Name: name, Removed: true})
	}
	a.printf("removed %s\n", name)
	return nil
}
