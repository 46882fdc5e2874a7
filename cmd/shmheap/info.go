package main

import (
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/spf13/cobra"
)

const infoLong = `Show one heap: where and how large it is, which processes are attached or were
and died, the roots by which programs find what is in it, and what the
allocator has handed out.`

const infoExample = `  shmheap info orders
  shmheap info ./here.heap
  shmheap info orders --json | jq .allocator.live_bytes`

func (a *app) infoCommand() *cobra.Command {
	return a.oneName(&cobra.Command{
		Use:     "info NAME",
		Short:   "Show a heap, who is attached, and what is in it",
		Long:    infoLong,
		Example: infoExample,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.attached(args[0], a.info)
		},
	})
}

// info prints one heap. The peers are read first: opening the allocator
// recovers what the dead ones held.
func (a *app) info(h *heap.Heap) error {
	i, err := gather(h)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(i)
	}
	a.printHeap(i)
	a.printPeers(i.Peers)
	a.printRoots(i.Roots)
	a.printAllocator(i.Allocator)
	return nil
}

// gather collects what info prints, without this process itself.
func gather(h *heap.Heap) (*infoJSON, error) {
	info, err := h.Info()
	if err != nil {
		return nil, err
	}
	i := &infoJSON{heapJSON: newHeapJSON(info), Peers: []peerJSON{}, Roots: []rootJSON{}}
	peers, err := h.Peers()
	if err != nil {
		return nil, err
	}
	i.PeersAlive = 0
	for _, p := range peers {
		if p.ID == h.Peer() {
			continue
		}
		if p.Alive {
			i.PeersAlive++
		}
		i.Peers = append(i.Peers, newPeerJSON(p))
	}
	roots, err := h.Roots()
	if err != nil {
		return nil, err
	}
	for _, r := range roots {
		i.Roots = append(i.Roots, newRootJSON(r, h.Base()))
	}
	return i, withAllocator(h, func(al *alloc.Allocator) error {
		stats, err := al.Stats()
		i.Allocator = newAllocatorJSON(stats)
		if err != nil {
			return err
		}
		return i.addUsage(al)
	})
}

// addUsage adds what the peers hold and have done.
func (i *infoJSON) addUsage(al *alloc.Allocator) error {
	usage, err := al.Usage()
	if err != nil {
		return err
	}
	for _, u := range usage {
		for p := range i.Peers {
			if i.Peers[p].ID == u.Peer.String() {
				i.Peers[p].add(&u)
			}
		}
	}
	return nil
}

func (a *app) printHeap(i *infoJSON) {
	t := newTable(a.out, table.Row{})
	t.ResetHeaders()
	t.AppendRows([]table.Row{
		{"name", i.Name},
		{"file", i.Path},
		{"id", i.ID},
		{"base", i.Base},
		{"size", size(i.Size)},
		{"committed", size(i.Committed)},
		{"limit", limit(i.Limit)},
		{"page size", size(uint64(i.PageSize))},
		{"version", i.Version},
		{"created", stamp(i.Created)},
	})
	t.Render()
}

func limit(n uint64) string {
	if n == 0 {
		return "none"
	}
	return size(n)
}

func (a *app) printPeers(peers []peerJSON) {
	if len(peers) == 0 {
		a.printf("\nno peers\n")
		return
	}
	a.printf("\n")
	t := newTable(a.out, table.Row{"peer", "pid", "program", "attached", "holds", "quota", "allocs", "frees", "state"},
		"pid", "holds", "quota", "allocs", "frees")
	for _, p := range peers {
		state := "dead"
		if p.Alive {
			state = "alive"
		}
		t.AppendRow(table.Row{p.ID, p.PID, p.Program, stamp(p.Attached),
			size(p.Held), limit(p.Quota), number(p.Allocs), number(p.Frees), state})
	}
	t.Render()
}

func (a *app) printRoots(roots []rootJSON) {
	if len(roots) == 0 {
		a.printf("\nno roots\n")
		return
	}
	a.printf("\n")
	t := newTable(a.out, table.Row{"root", "address", "type"})
	for _, r := range roots {
		t.AppendRow(table.Row{r.Name, r.Address, r.Type})
	}
	t.Render()
}

func (a *app) printAllocator(s allocatorJSON) {
	a.printf("\n%s live (%s), %s free in %s; %s (%s)",
		plural(s.Live, "block", "blocks"), size(s.LiveBytes), number(s.FreeBlocks),
		plural(s.Slabs, "slab", "slabs"), plural(s.Large, "large block", "large blocks"), size(s.LargeBytes))
	if s.Arenas > 0 {
		a.printf("; %s (%s of %s)", plural(s.Arenas, "arena", "arenas"), size(s.ArenaUsed), size(s.ArenaBytes))
	}
	a.printf("\n")
	if len(s.Classes) == 0 {
		return
	}
	t := newTable(a.out, table.Row{"class", "slabs", "live", "free"}, "class", "slabs", "live", "free")
	for _, c := range s.Classes {
		t.AppendRow(table.Row{number(c.Size), number(c.Slabs), number(c.Live), number(c.Free)})
	}
	t.Render()
}
