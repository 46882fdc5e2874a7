package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/live"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/picture"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/queue"
	"github.com/spf13/cobra"
)

const dumpLong = `Show the tables of a heap: its superblock, where each table lies, peers and roots.
With an address, or an offset from the base, or the name of a root: what lies
there. That is the span of granules, the block in it, its state and owner, the
roots that lead to it with their types, and the memory from there on, in which
words that are addresses of the heap say where they lead.

The heap is only looked at: nothing is attached, recovered or changed.`

const dumpExample = `  shmheap dump orders
  shmheap dump orders 0x55ad80a40010
  shmheap dump orders latest --words 32
  shmheap dump orders 0xa40010 --json | jq .block`

var errNoPlace = errors.New("no address, offset or root")

func (a *app) dumpCommand() *cobra.Command {
	var words uint64
	cmd := a.oneName(&cobra.Command{
		Use:     "dump NAME [ADDR|ROOT]",
		Short:   "Show the tables of a heap, or what lies at an address",
		Long:    dumpLong,
		Example: dumpExample,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.looked(args[0], func(w *live.Watcher) error {
				if len(args) == 1 {
					return a.dump(w)
				}
				return a.dumpPlace(w, args[1], words)
			})
		},
	})
	cmd.Args = arguments(1, 2)
	cmd.Flags().Uint64Var(&words, "words", 8, "how many words of the memory to show")
	return cmd
}

func (a *app) dump(w *live.Watcher) error {
	j, err := newDumpJSON(w.View())
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(j)
	}
	s := &j.Superblock
	t := newTable(a.out, table.Row{})
	t.ResetHeaders()
	t.AppendRows([]table.Row{
		{"version", s.Version}, {"base", s.Base}, {"size", size(s.Size)}, {"granule", size(uint64(s.Granule))},
		{"pages of the creator", size(uint64(s.PageSize))}, {"tables", fmt.Sprintf("%d roots, %d peers, %d caches, %d size classes", s.MaxRoots, s.MaxPeers, s.MaxCaches, s.Classes)},
		{"made by", fmt.Sprintf("pid %d, uid %d", s.CreatorPID, s.CreatorUID)}, {"checksum", s.Checksum},
		{"frontier", fmt.Sprintf("%s granules", number(s.Frontier))}, {"span hint", fmt.Sprintf("granule %d", s.SpanHint)},
		{"limit", limit(s.Limit)}, {"profile rate", s.ProfileRate}, {"out of space", fmt.Sprintf("%s times", number(s.Pressure))},
	})
	t.Render()
	a.printf("\n")
	t = newTable(a.out, table.Row{"table", "offset", "bytes", "committed"}, "offset", "bytes", "committed")
	for _, x := range j.Sections {
		t.AppendRow(table.Row{x.Name, hex(x.Offset), size(x.Bytes), size(x.Committed)})
	}
	t.Render()
	a.printPeers(j.Peers)
	a.printRoots(j.Roots)
	return nil
}

func newDumpJSON(v *heap.View) (*dumpJSON, error) {
	sb := mem.View[layout.Superblock](v.Memory(), 0)
	j := &dumpJSON{Peers: []peerJSON{}, Roots: []rootJSON{}, Sections: sections(v)}
	j.Superblock = superblockJSON{
		Version: sb.Version, Base: hex(sb.Base), Size: sb.Size, PageSize: sb.PageSize, Granule: sb.Granule,
		MaxRoots: sb.MaxRoots, MaxPeers: sb.MaxPeers, MaxCaches: sb.MaxCaches, Classes: sb.Classes,
		CreatorPID: sb.CreatorPID, CreatorUID: sb.CreatorUID, Checksum: hex(uint64(sb.Checksum)),
		Frontier: sb.Frontier.Load(), SpanHint: uint64(uint32(sb.SpanHint.Load())), Limit: sb.Limit.Load(),
		ProfileRate: sb.ProfileRate.Load(), Pressure: sb.Pressure.Load(),
	}
	peers, err := v.Peers()
	if err != nil {
		return nil, err
	}
	usage, err := alloc.Look(v).Usage()
	if err != nil {
		return nil, err
	}
	for _, p := range peers {
		x := newPeerJSON(p)
		for _, u := range usage {
			if u.Peer == p.ID {
				x.add(&u)
			}
		}
		j.Peers = append(j.Peers, x)
	}
	roots, err := v.Roots()
	for _, r := range roots {
		j.Roots = append(j.Roots, newRootJSON(r, v.Base()))
	}
	return j, err
}

// sections are the parts of the region.
func sections(v *heap.View) []sectionJSON {
	g := v.Geometry()
	s := &g.Sections
	all := []sectionJSON{
		{"superblock", 0, layout.SuperblockSize, 0}, {"committed", s.Committed, 0, 0}, {"roots", s.Roots, 0, 0}, {"peers", s.Peers, 0, 0},
		{"caches", s.Caches, 0, 0}, {"states", s.States, 0, 0}, {"busy", s.Busy, 0, 0}, {"hints", s.Hints, 0, 0}, {"slabs", s.Slabs, 0, 0},
		{"fine", s.Fine, 0, 0}, {"sites", s.Sites, 0, 0}, {"data", s.Data, 0, 0},
	}
	for i := range all {
		x := &all[i]
		end := g.Size
		if i+1 < len(all) {
			end = all[i+1].Offset
		}
		x.Bytes = end - x.Offset
		for at := x.Offset; at < end; {
			next := min((at/layout.GranuleSize+1)*layout.GranuleSize, end)
			if v.IsCommitted(at) {
				x.Committed += next - at
			}
			at = next
		}
	}
	return all
}

// offsetIn understands an address, an offset or the name of a root.
func offsetIn(v *heap.View, text string) (uint64, error) {
	var at addressValue
	if err := at.Set(text); err == nil {
		if off := uint64(at) - v.Base(); uint64(at) >= v.Base() && off < v.Size() {
			return off, nil
		}
		if uint64(at) < v.Size() {
			return uint64(at), nil
		}
		return 0, fmt.Errorf("%w of heap %s, which is at [%#x, %#x): %s", errNoPlace, v.Name(), v.Base(), v.Base()+v.Size(), text)
	}
	roots, err := v.Roots()
	for _, r := range roots {
		if r.Name == text {
			return r.Offset, nil
		}
	}
	if err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("%w of heap %s: %q", errNoPlace, v.Name(), text)
}

func (a *app) dumpPlace(w *live.Watcher, text string, words uint64) error {
	v := w.View()
	off, err := offsetIn(v, text)
	if err != nil {
		return err
	}
	p, err := w.Inspector().Locate(off)
	if err != nil {
		return err
	}
	j, err := newPlaceJSON(w, &p, off, words)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(j)
	}
	a.printPlace(w, j, &p)
	return nil
}

func newPlaceJSON(w *live.Watcher, p *alloc.Place, off, words uint64) (*placeJSON, error) {
	v := w.View()
	j := &placeJSON{Address: hex(v.Base() + off), Offset: off, Span: newSpanJSON(&p.Span), Roots: []rootJSON{}, Words: []wordJSON{}}
	for _, s := range sections(v) {
		if off >= s.Offset {
			j.Section = s.Name
		}
	}
	from, n := p.Span.Offset, p.Span.Bytes
	if p.State != alloc.BlockNone {
		j.Block = &blockJSON{Offset: p.Offset, Size: p.Size, Index: p.Index, State: string(p.State), Into: off - p.Offset, Site: p.Site}
		from, n = p.Offset, p.Size
	}
	roots, err := v.Roots()
	for _, r := range roots {
		if r.Offset < from || r.Offset-from >= n || r.Offset == 0 {
			continue
		}
		j.Roots = append(j.Roots, newRootJSON(r, v.Base()))
		if q, err := queue.Look(v, r); err == nil {
			j.Queue = &queueJSON{Kind: q.Kind, Cap: q.Cap, Elements: q.Elements, Closed: q.Closed, Dropped: q.Dropped}
		}
	}
	for at := off &^ 7; uint64(len(j.Words)) < words && at+8 <= v.Size() && v.IsCommitted(at); at += 8 {
		j.Words = append(j.Words, newWordJSON(w, at))
	}
	return j, err
}

func newWordJSON(w *live.Watcher, at uint64) wordJSON {
	v := w.View()
	word := v.Memory().Word(at).Load()
	j := wordJSON{Offset: at, Value: hex(word)}
	if off := word - v.Base(); word >= v.Base() && off < v.Size() {
		if p, err := w.Inspector().Locate(off); err == nil {
			j.Leads = leads(&p, off)
		}
	}
	return j
}

// leads says where an address leads, in a few words.
func leads(p *alloc.Place, off uint64) string {
	if p.State == alloc.BlockNone {
		return string(p.Span.Kind)
	}
	into := ""
	if off != p.Offset {
		into = fmt.Sprintf(", %d bytes into it", off-p.Offset)
	}
	return fmt.Sprintf("block of %d bytes, %s%s", p.Size, p.State, into)
}

func (a *app) printPlace(w *live.Watcher, j *placeJSON, p *alloc.Place) {
	a.printf("%s is offset %#x, in %s\n", j.Address, j.Offset, j.Section)
	a.printf("span: %s, at %#x", picture.Describe(&p.Span), w.View().Base()+p.Span.Offset)
	if p.Span.Owner != 0 {
		a.printf(", owned by peer %s%s", p.Span.Owner, programOf(w.View(), p.Span.Owner))
	}
	a.printf("\n")
	if b := j.Block; b != nil {
		a.printf("block: number %d, %s bytes at %#x, %s; the address is %d bytes into it\n", b.Index, number(b.Size), w.View().Base()+b.Offset, b.State, b.Into)
		if b.Site != "" {
			a.printf("allocated by: %s\n", strings.TrimSpace(b.Site))
		}
	} else if p.Arena != 0 {
		a.printf("arena: its head is at %#x\n", w.View().Base()+p.Arena)
	}
	for _, r := range j.Roots {
		a.printf("root: %q leads to %s, a %s (fingerprint %s)\n", r.Name, r.Address, r.Type, r.Fingerprint)
	}
	if q := j.Queue; q != nil {
		a.printf("queue: %s, %s of %s, closed %v, %s dropped\n", q.Kind, number(q.Elements), number(q.Cap), q.Closed, number(q.Dropped))
	}
	if len(j.Words) == 0 {
		a.printf("nothing is stored there\n")
	}
	for _, x := range j.Words {
		line := fmt.Sprintf("%#x  %-18s  %s", w.View().Base()+x.Offset, x.Value, x.Leads)
		a.printf("%s\n", strings.TrimRight(line, " "))
	}
}

// programOf says which process a peer is.
func programOf(v *heap.View, id heap.PeerID) string {
	peers, _ := v.Peers() // without them it has no name
	for _, p := range peers {
		if p.ID == id {
			return fmt.Sprintf(", %s with pid %d%s", p.Program, p.PID, verdict(p.Alive, "", ", dead"))
		}
	}
	return ", which is gone"
}
