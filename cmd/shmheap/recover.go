package main

import (
	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/spf13/cobra"
)

const recoverLong = `Return to a heap what dead peers held: the caches that they did not close, and
with them the slabs, spans and free blocks in those. Blocks that they had
allocated stay: other processes may use them.

Every process that opens the heap does this first, so it is never necessary;
it helps when a process died and no other is about to start.`

const recoverExample = `  shmheap recover orders
  shmheap recover orders --json`

// recoverJSON is what "recover --json" prints.
type recoverJSON struct {
	Name   string `json:"name"`
	Peers  int    `json:"peers"`
	Caches int    `json:"caches"`
	Slabs  int    `json:"slabs"`
	Spans  int    `json:"spans"`
	Blocks int    `json:"blocks"`
	Arenas int    `json:"arenas"`
}

func (a *app) recoverCommand() *cobra.Command {
	return a.oneName(&cobra.Command{
		Use:     "recover NAME",
		Short:   "Return what dead peers held",
		Long:    recoverLong,
		Example: recoverExample,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.attached(args[0], a.recover)
		},
	})
}

// recover prints what is returned to one heap.
func (a *app) recover(h *heap.Heap) error {
	var r alloc.Recovered
	err := withAllocator(h, func(al *alloc.Allocator) (err error) {
		_, err = al.Recover()
		r = al.Recovered() // what opening it recovered too
		return err
	})
	if err != nil {
		return err
	}
	j := recoverJSON{
		Name: h.Name(), Peers: r.Peers, Caches: r.Caches,
		Slabs: r.Slabs, Spans: r.Spans, Blocks: r.Blocks, Arenas: r.Arenas,
	}
	switch {
	case a.json:
		return a.printJSON(j)
	case r == alloc.Recovered{}:
		a.printf("nothing to recover\n")
	default:
		a.printf("recovered from %s: %s, %s, %s, %s\n",
			plural(j.Peers, "dead peer", "dead peers"), plural(j.Caches, "cache", "caches"),
			plural(j.Slabs, "slab", "slabs"), plural(j.Spans, "span", "spans"), plural(j.Blocks, "block", "blocks"))
	}
	return nil
}
