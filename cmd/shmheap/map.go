package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/live"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/picture"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/screen"
	"github.com/shmheap/shmheap/heap"
	"github.com/spf13/cobra"
)

const mapLong = `Show what each granule of a heap is used for: which are free, which are slabs of
which size class, large blocks or arenas, how full they are and whose; and say
in words how fragmented the heap is and how large its largest free run is.

A picture is written with --svg, in which each granule tells what it is, and with
--png. The heap is only looked at: nothing is attached, recovered or changed.`

const mapExample = `  shmheap map orders
  shmheap map orders --svg orders.svg --png orders.png
  shmheap map orders --svg - | rsvg-convert -o orders.pdf -f pdf
  shmheap map orders --json | jq '.spaces.largest_free'`

// mapFlags are the flags of map.
type mapFlags struct{ svg, png string }

func (a *app) mapCommand() *cobra.Command {
	var f mapFlags
	cmd := a.oneName(&cobra.Command{
		Use:     "map NAME",
		Short:   "Show what the memory of a heap is used for",
		Long:    mapLong,
		Example: mapExample,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.looked(args[0], func(w *live.Watcher) error { return a.showMap(w, &f) })
		},
	})
	cmd.Flags().StringVar(&f.svg, "svg", "", "draw it to this `file`, - for the standard output")
	cmd.Flags().StringVar(&f.png, "png", "", "draw it to this `file` in pixels, - for the standard output")
	cmd.MarkFlagFilename("svg", "svg")
	cmd.MarkFlagFilename("png", "png")
	return cmd
}

// looked calls f with a heap that is looked at, and ends looking.
func (a *app) looked(name string, f func(*live.Watcher) error) error {
	w, err := live.Open(name, a.options())
	if err != nil {
		return err
	}
	return errors.Join(live.Guard(func() error { return f(w) }), w.Close())
}

func (a *app) showMap(w *live.Watcher, f *mapFlags) error {
	m, spaces, err := newMap(w)
	if err != nil {
		return err
	}
	for _, to := range []struct {
		file string
		draw func(io.Writer) error
	}{{f.svg, m.SVG}, {f.png, m.PNG}} {
		if to.file == "" {
			continue
		}
		if err := a.put(to.file, to.draw); err != nil {
			return err
		}
		if to.file != "-" {
			fmt.Fprintf(a.err, "drawn: %s\n", to.file)
		}
	}
	if a.json {
		return a.printJSON(newMapJSON(w, m, spaces))
	}
	a.printMap(w, m, spaces)
	return nil
}

// newMap makes a picture of a heap as it is now: the spans are counted once.
func newMap(w *live.Watcher) (*picture.Map, *live.Spaces, error) {
	v := w.View()
	if err := v.Cut(); err != nil {
		return nil, nil, err
	}
	peers, err := v.Peers()
	if err != nil {
		return nil, nil, err
	}
	var spaces live.Spaces
	var spans []alloc.Span
	for s := range w.Inspector().Spans {
		spaces.Add(s)
		spans = append(spans, s)
	}
	m := &picture.Map{
		Title: fmt.Sprintf("heap %s, %s at %#x", v.Name(), size(v.Size()), v.Base()),
		Words: spaces.Words(), Used: spaces.Used, Base: v.Base(), Owners: map[heap.PeerID]string{},
		Spans: func(yield func(alloc.Span) bool) {
			for _, s := range spans {
				if !yield(s) {
					return
				}
			}
		},
	}
	for _, p := range peers {
		m.Owners[p.ID] = fmt.Sprintf("%s, pid %d%s", p.Program, p.PID, verdict(p.Alive, "", ", dead"))
	}
	return m, &spaces, nil
}

func newMapJSON(w *live.Watcher, m *picture.Map, spaces *live.Spaces) *mapJSON {
	j := &mapJSON{
		Name: w.View().Name(), Base: hex(m.Base), Size: w.View().Size(),
		Fragmentation: spaces.Fragmentation(), Words: m.Words, Spaces: *spaces, Spans: []spanJSON{},
	}
	for s := range m.Spans {
		j.Spans = append(j.Spans, newSpanJSON(&s))
	}
	return j
}

// mapColumns is the width of the map in text: that of a terminal of 80 columns with addresses in front.
const mapColumns, mapRows = 64, 16

func (a *app) printMap(w *live.Watcher, m *picture.Map, spaces *live.Spaces) {
	a.printf("%s\n%s\n\n", m.Title, strings.Join(m.Words, "\n"))
	cells, each := live.Cells(m.Spans, m.Used, mapColumns*mapRows)
	for i := 0; i < len(cells); i += mapColumns {
		row := cells[i:min(i+mapColumns, len(cells))]
		a.printf("%-14s %s\n", hex(m.Base+uint64(i)*each), cellText(row))
	}
	a.printf("\na letter is %s: T tables, s slab, L large, A arena, c claimed, . free, ! damaged;\na capital slab S is at least half full\n\n", size(each))
	t := newTable(a.out, table.Row{"what", "bytes", "in use"}, "bytes", "in use")
	for _, row := range []struct {
		what        string
		bytes, used uint64
	}{
		{"tables", spaces.Tables, spaces.Tables}, {"slabs", spaces.Slabs, spaces.SlabsUsed}, {"large", spaces.Large, spaces.Large},
		{"arenas", spaces.Arenas, spaces.ArenasUsed}, {"claimed", spaces.Claimed, 0}, {"free", spaces.Free, 0}, {"damaged", spaces.Damaged, 0},
	} {
		if row.bytes > 0 {
			t.AppendRow(table.Row{row.what, size(row.bytes), size(row.used)})
		}
	}
	t.Render()
}

// cellText is a row of cells as letters.
func cellText(cells []live.Cell) string {
	var text strings.Builder
	for _, c := range cells {
		text.WriteByte(screen.Letter(c))
	}
	return text.String()
}

// writeFile writes a file, or to a device or pipe that is there: whole or not at all.
func writeFile(file string, write func(io.Writer) error) error {
	target, special, err := outputTo(file)
	if err != nil {
		return err
	}
	if !special {
		return replaceFile(target, func(f *os.File) error { return errors.Join(write(f), f.Chmod(0o644)) })
	}
	f, err := os.OpenFile(target, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
