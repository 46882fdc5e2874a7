package main

import (
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/shmheap/shmheap/heap"
	"github.com/spf13/cobra"
)

const lsLong = `List the heaps in the private directory: their maximum size, the memory they
take now, the address they have in every process, and how many processes are
attached. One that cannot be read is listed with the reason.`

const lsExample = `  shmheap ls
  shmheap ls --json | jq -r '.[].name'
  shmheap ls --dir /var/lib/orders`

func (a *app) lsCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "ls",
		Aliases:           []string{"list"},
		Short:             "List the heaps",
		Long:              lsLong,
		Example:           lsExample,
		Args:              arguments(0, 0),
		RunE:              func(*cobra.Command, []string) error { return a.ls() },
		ValidArgsFunction: cobra.NoFileCompletions,
	}
}

// ls prints the heaps in the private directory.
func (a *app) ls() error {
	infos, err := heap.List(a.options())
	if err != nil {
		return err
	}
	if a.json {
		list := []heapJSON{}
		for _, info := range infos {
			list = append(list, newHeapJSON(info))
		}
		return a.printJSON(list)
	}
	if len(infos) == 0 {
		fmt.Fprintln(a.err, "no heaps; make one with: shmheap init NAME")
		return nil
	}
	t := newTable(a.out, table.Row{"name", "size", "committed", "base", "peers", "created"}, "size", "committed", "peers")
	for _, i := range infos {
		if i.Err != nil {
			t.AppendRow(table.Row{i.Name, "-", "-", "-", "-", i.Err.Error()})
			continue
		}
		committed := size(i.Committed)
		if i.Kernel != "" { // which tells those that attach alone
			committed = "in " + i.Kernel
		}
		t.AppendRow(table.Row{i.Name, size(i.Size), committed, hex(i.Base), i.Peers, stamp(i.Created)})
	}
	t.Render()
	return nil
}
