package main

import (
	"context"
	"errors"

	"github.com/shmheap/shmheap/heap"
	"github.com/spf13/cobra"
)

const prepareLong = `Bring what a heap holds into memory, so that programs need not wait for it, and
with --huge into huge pages, which programs then share.

With --lock it is kept in memory until the command is interrupted: it waits. The
limit is that of locked memory (ulimit -l).

Huge pages need a heap on tmpfs and Linux 6.1. A heap in a file on hugetlbfs has
huge pages anyway.`

const prepareExample = `  shmheap prepare orders
  shmheap prepare orders --huge
  shmheap prepare orders --lock &`

// prepareJSON is what "prepare --json" prints.
type prepareJSON struct {
	Name    string `json:"name"`
	Present uint64 `json:"present_bytes"`
	Huge    uint64 `json:"huge_bytes"`
	Small   uint64 `json:"small_bytes"`
	Locked  uint64 `json:"locked_bytes"`
}

func (a *app) prepareCommand() *cobra.Command {
	var o heap.PrepareOptions
	cmd := a.oneName(&cobra.Command{
		Use:     "prepare NAME",
		Short:   "Bring a heap into memory, or into huge pages",
		Long:    prepareLong,
		Example: prepareExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.attached(args[0], func(h *heap.Heap) error { return a.prepare(cmd.Context(), h, &o) })
		},
	})
	cmd.Flags().BoolVar(&o.Huge, "huge", false, "put what the heap holds into huge pages")
	cmd.Flags().BoolVar(&o.Lock, "lock", false, "keep it in memory, until interrupted")
	return cmd
}

func (a *app) prepare(ctx context.Context, h *heap.Heap, o *heap.PrepareOptions) error {
	bar := newProgress(a.err, "MiB")
	o.Progress = func(done, total uint64) { bar.set(int(done>>20), int(total>>20)) }
	done, err := h.Prepare(ctx, o)
	bar.end()
	if err != nil {
		return err
	}
	if a.json {
		err = a.printJSON(prepareJSON{h.Name(), done.Present, done.Huge, done.Small, done.Locked})
	} else {
		a.printf("%s in memory", size(done.Present))
		if o.Huge {
			a.printf(", %s of them in huge pages", size(done.Huge))
		}
		if done.Small > 0 {
			a.printf("; %s could not be: they fill none, or there was none to be had", size(done.Small))
		}
		if o.Lock {
			a.printf(", locked")
		}
		a.printf("\n")
	}
	if err != nil || !o.Lock {
		return err
	}
	<-ctx.Done()
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return nil // that is how it ends
	}
	return context.Cause(ctx)
}
