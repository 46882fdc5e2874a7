package screen

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/dustin/go-humanize"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/live"
)

// Layout says how a snapshot is shown. The zero value is plain text of 80 columns and of any length.
type Layout struct {
	Width, Height int  // of the terminal; a height of 0 is endless
	Colour        bool // use colours and other styles
	Letters       bool // draw the map in letters, where a terminal knows no others
	Active        int  // the part that keys act on
	Sort          [Parts]int
	Reverse       [Parts]bool
	From          [Parts]int // the first line that is shown
	Status        string     // in the last line, instead of the keys
}

// Parts is how many tables there are: peers, queues and size classes.
const Parts = 3

// MapRows is how many lines the map has on a terminal, and Cells how many cells that takes.
const MapRows = 3

// Cells returns how many cells of the heap fit into the map.
func (l *Layout) Cells() int { return l.width() * MapRows }

func (l *Layout) width() int {
	if l.Width <= 0 {
		return 80
	}
	return l.Width
}

// part is one table of the screen.
type part struct {
	title   string
	columns []column
	rows    [][]cell
	index   int
	shown   int // lines that there is room for
}

// column has a header; its cells are right of it or left.
type column struct {
	name  string
	width int
	left  bool
}

// cell is a value as it is shown, and as it is sorted.
type cell struct {
	text   string
	number float64
	alarm  bool
}

func word(s string) cell { return cell{text: printable(s), number: math.NaN()} }

func number(n float64, text string) cell { return cell{text: text, number: n} }

func size(n uint64) cell { return number(float64(n), humanize.IBytes(n)) }

func count(n uint64) cell { return number(float64(n), humanize.Comma(int64(n))) }

func perSecond(v float64) cell { return number(v, Rate(v)) }

// Rate writes a number of things a second with three digits or so.
func Rate(v float64) string {
	a := math.Abs(v)
	switch {
	case a < 0.05:
		return "0"
	case a < 10:
		return fmt.Sprintf("%.1f", v)
	case a < 1e4:
		return fmt.Sprintf("%.0f", v)
	}
	n, prefix := humanize.ComputeSI(v)
	return fmt.Sprintf("%.1f%s", n, prefix)
}

// printable leaves no control characters of what a peer said of itself.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// Render returns the screen, with as many lines as the layout has at most.
func (l *Layout) Render(s *live.Snapshot) string {
	lines := l.head(s)
	parts := l.parts(s)
	l.share(parts, len(lines)+MapRows+1)
	for i := range parts {
		lines = append(lines, l.table(&parts[i])...)
	}
	lines = append(lines, l.heapMap(s)...)
	if l.Height > 0 {
		for len(lines) < l.Height-1 {
			lines = append(lines, "")
		}
		lines = append(lines[:l.Height-1], l.keys())
	}
	for i := range lines {
		lines[i] = cut(lines[i], l.width())
	}
	return strings.Join(lines, "\n")
}

func cut(line string, width int) string {
	if lipgloss.Width(line) <= width {
		return line
	}
	return lipgloss.NewStyle().MaxWidth(width).Render(line)
}

func (l *Layout) head(s *live.Snapshot) []string {
	title := fmt.Sprintf("heap %s: %s at %s, %s", printable(s.Name), humanize.IBytes(s.Size), s.Base, s.Time.Local().Format("15:04:05"))
	stored := humanize.IBytes(s.Committed)
	if s.Limit > 0 {
		stored += " of " + humanize.IBytes(s.Limit)
	}
	state := fmt.Sprintf("storage %s, %s; %s blocks in use, %s; %s allocs/s, %s frees/s", stored, growth(s.Growth),
		humanize.Comma(int64(s.Live)), humanize.IBytes(s.LiveBytes), Rate(s.Allocs), Rate(s.Frees))
	lines := []string{l.bold(title), state}
	if s.Problem != "" {
		lines = append(lines, l.alarm("problem: "+printable(s.Problem)))
	}
	return lines
}

func growth(v float64) string {
	switch {
	case v >= 1:
		return "growing by " + humanize.IBytes(uint64(v)) + "/s"
	case v <= -1:
		return "shrinking by " + humanize.IBytes(uint64(-v)) + "/s"
	}
	return "steady"
}

func (l *Layout) parts(s *live.Snapshot) []part {
	parts := []part{peers(s), queues(s), classes(s)}
	for i := range parts {
		p := &parts[i]
		p.index = i
		column := l.Sort[i] % len(p.columns)
		slices.SortStableFunc(p.rows, func(x, y []cell) int { return compare(x[column], y[column]) })
		if l.Reverse[i] {
			slices.Reverse(p.rows)
		}
	}
	return parts
}

// compare puts large numbers first, and words in their order.
func compare(x, y cell) int {
	if !math.IsNaN(x.number) || !math.IsNaN(y.number) {
		return cmp.Compare(y.number, x.number)
	}
	return strings.Compare(x.text, y.text)
}

func peers(s *live.Snapshot) part {
	p := part{title: "peers", columns: []column{
		{"holds", 9, false}, {"alloc/s", 8, false}, {"free/s", 7, false}, {"blocks", 10, false}, {"quota", 8, false},
		{"pid", 7, false}, {"state", 5, true}, {"peer", 5, true}, {"program", 12, true},
	}}
	for i := range s.Peers {
		x := &s.Peers[i]
		state, quota := word("alive"), word("none")
		if !x.Alive {
			state = cell{text: "dead", number: math.NaN(), alarm: true}
		}
		if x.Quota > 0 {
			quota = size(x.Quota)
		}
		p.rows = append(p.rows, []cell{
			size(x.Held), perSecond(x.AllocRate), perSecond(x.FreeRate), count(x.Blocks), quota,
			number(float64(x.PID), fmt.Sprint(x.PID)), state, word(x.ID), word(x.Program),
		})
	}
	return p
}

func queues(s *live.Snapshot) part {
	p := part{title: "queues", columns: []column{
		{"depth", 9, false}, {"cap", 9, false}, {"push/s", 8, false}, {"pop/s", 8, false}, {"in", 3, false}, {"out", 3, false},
		{"asleep", 6, true}, {"kind", 9, true}, {"queue", 18, true},
	}}
	for i := range s.Queues {
		x := &s.Queues[i]
		name := x.Root
		if x.Closed {
			name += " (closed)"
		}
		kind := word(x.Kind)
		if x.Problem != "" {
			kind, name = cell{text: "damaged", number: math.NaN(), alarm: true}, name+": "+x.Problem
		}
		p.rows = append(p.rows, []cell{
			count(uint64(x.Depth)), count(uint64(x.Cap)), perSecond(x.PushRate), perSecond(x.PopRate),
			count(uint64(len(x.Producers))), count(uint64(len(x.Consumers))), word(asleep(x)), kind, word(name),
		})
	}
	return p
}

func asleep(q *live.Queue) string {
	switch {
	case q.PushWaits && q.PopWaits:
		return "both"
	case q.PushWaits:
		return "in"
	case q.PopWaits:
		return "out"
	}
	return "-"
}

func classes(s *live.Snapshot) part {
	p := part{title: "classes", columns: []column{
		{"bytes", 10, false}, {"live", 10, false}, {"grows/s", 8, false}, {"free", 10, false}, {"slabs", 7, false}, {"full", 5, false}, {"size", 6, false},
	}}
	for i := range s.Classes {
		x := &s.Classes[i]
		full := float64(x.Live) / max(float64(x.Live+x.Free), 1)
		p.rows = append(p.rows, []cell{
			size(x.Size * x.Live), count(x.Live), perSecond(x.Rate), count(x.Free), count(x.Slabs),
			number(full, fmt.Sprintf("%.0f%%", 100*full)), count(x.Size),
		})
	}
	return p
}
