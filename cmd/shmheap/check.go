package main

import (
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/spf13/cobra"
)

const checkLong = `Check that a heap is consistent: its superblock, tables, roots and peers, and
every span, bitmap and cache of the allocator. Prints each problem on a line,
or "clean". The heap may be in use.

Exit status: 0 clean, 3 damaged, 1 the check could not be made.`

const checkExample = `  shmheap check orders
  shmheap check orders --json | jq -r '.problems[]'
  shmheap check orders || echo "status $?"`

// checkJSON is what "check --json" prints.
type checkJSON struct {
	Name     string   `json:"name"`
	Clean    bool     `json:"clean"`
	Problems []string `json:"problems"`
	Notes    []string `json:"notes"`
}

func (a *app) checkCommand() *cobra.Command {
	return a.oneName(&cobra.Command{
		Use:     "check NAME",
		Short:   "Check that a heap is consistent",
		Long:    checkLong,
		Example: checkExample,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.check(args[0])
		},
	})
}

// check prints the problems of one heap.
func (a *app) check(name string) error {
	c := checkJSON{Name: name, Problems: []string{}, Notes: []string{}}
	err := a.attached(name, func(h *heap.Heap) error {
		c.Name = h.Name()
		return withAllocator(h, func(al *alloc.Allocator) error {
			report := al.Check()
			c.Problems = append(c.Problems, report.Problems...)
			c.Notes = append(c.Notes, report.Notes...)
			return report.Err()
		})
	})
	if err != nil && !errors.Is(err, heap.ErrCorrupt) {
		return err
	}
	if err != nil && len(c.Problems) == 0 {
		c.Problems = append(c.Problems, err.Error()) // too damaged to be opened
	}
	c.Clean = len(c.Problems) == 0
	if err := a.printCheck(&c); err != nil {
		return err
	}
	if !c.Clean {
		return &reportedError{fmt.Errorf("%s: %w", name, heap.ErrCorrupt)}
	}
	return nil
}

func (a *app) printCheck(c *checkJSON) error {
	if a.json {
		return a.printJSON(c)
	}
	for _, p := range c.Problems {
		a.printf("%s\n", p)
	}
	if c.Clean {
		a.printf("clean\n")
	}
	for _, n := range c.Notes {
		a.printf("note: %s\n", n)
	}
	return nil
}
