package screen

import (
	"fmt"
	"os"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/live"
)

// share says how many lines each table gets of those that the rest of the screen leaves: one each in turn, as long as
// it has more to show.
func (l *Layout) share(parts []part, taken int) {
	for i := range parts {
		parts[i].shown = len(parts[i].rows)
	}
	if l.Height <= 0 {
		return
	}
	room := l.Height - 1 - taken - len(parts) // a header each
	for i := range parts {
		parts[i].shown = 0
	}
	for given := true; given && room > 0; {
		given = false
		for i := range parts {
			if p := &parts[i]; room > 0 && p.shown < len(p.rows) {
				p.shown, room, given = p.shown+1, room-1, true
			}
		}
	}
}

// table returns the header of a part and its lines.
func (l *Layout) table(p *part) []string {
	from := min(max(l.From[p.index], 0), max(len(p.rows)-p.shown, 0))
	l.From[p.index] = from
	if len(p.rows) == 0 {
		return []string{l.header("no "+p.title, p.index == l.Active)}
	}
	var head strings.Builder
	for i, c := range p.columns {
		name := strings.ToUpper(c.name)
		if i == l.Sort[p.index]%len(p.columns) {
			name = "*" + name
		}
		head.WriteString(align(name, c))
	}
	title := strings.TrimRight(head.String(), " ")
	if n := len(p.rows); n > p.shown {
		note := fmt.Sprintf(" %d-%d/%d", min(from+1, n), from+p.shown, n)
		room := max(l.width()-len(note), 0)
		title = fmt.Sprintf("%-*.*s%s", room, room, title, note)
	}
	lines := []string{l.header(title, p.index == l.Active)}
	for _, row := range p.rows[from : from+p.shown] {
		lines = append(lines, l.row(p, row))
	}
	return lines
}

func (l *Layout) row(p *part, row []cell) string {
	var line strings.Builder
	for i, c := range row {
		text := align(c.text, p.columns[i])
		if c.alarm {
			text = l.alarm(text)
		}
		line.WriteString(text)
	}
	return strings.TrimRight(line.String(), " ")
}

// align pads a text to its column, and one more.
func align(s string, c column) string {
	pad := strings.Repeat(" ", max(c.width-lipgloss.Width(s), 0))
	if c.left {
		return s + pad + " "
	}
	return pad + s + " "
}

// Colours of what a cell is, of the 16 that every terminal has.
var colours = map[alloc.SpanKind]string{
	alloc.SpanTables: "8", alloc.SpanSlab: "4", alloc.SpanLarge: "5", alloc.SpanArena: "2",
	alloc.SpanClaimed: "3", alloc.SpanFree: "8", alloc.SpanDamaged: "1",
}

// heapMap draws the cells: in blocks as high as the cell is full, or in letters.
func (l *Layout) heapMap(s *live.Snapshot) []string {
	lines := []string{l.legend()}
	for i := 0; i < len(s.Cells); i += l.width() {
		lines = append(lines, l.mapLine(s.Cells[i:min(i+l.width(), len(s.Cells))]))
	}
	return lines
}

// legend says what the cells are; with colours each in its own.
func (l *Layout) legend() string {
	if l.Letters || !l.Colour {
		return l.faint("map: T tables s slab S full slab L large A arena c claimed . free ! damaged")
	}
	words := []string{l.faint("map:")}
	for _, kind := range []alloc.SpanKind{alloc.SpanTables, alloc.SpanSlab, alloc.SpanLarge, alloc.SpanArena, alloc.SpanClaimed, alloc.SpanFree, alloc.SpanDamaged} {
		word := l.glyph(live.Cell{Kind: string(kind), Fill: 0.5}) + " " + string(kind)
		words = append(words, l.styled(word, colourOf(kind)))
	}
	return strings.Join(words, "  ")
}

func colourOf(kind alloc.SpanKind) lipgloss.Style {
	return lipgloss.NewStyle().Foreground(lipgloss.Color(colours[kind]))
}

func (l *Layout) mapLine(cells []live.Cell) string {
	var line strings.Builder
	for len(cells) > 0 {
		n := 1
		for n < len(cells) && cells[n].Kind == cells[0].Kind {
			n++
		}
		var run strings.Builder
		for _, c := range cells[:n] {
			run.WriteString(l.glyph(c))
		}
		if l.Colour {
			line.WriteString(colourOf(alloc.SpanKind(cells[0].Kind)).Render(run.String()))
		} else {
			line.WriteString(run.String())
		}
		cells = cells[n:]
	}
	return line.String()
}

func (l *Layout) glyph(c live.Cell) string {
	if l.Letters || !l.Colour {
		return string(Letter(c))
	}
	switch alloc.SpanKind(c.Kind) {
	case alloc.SpanFree:
		return "·"
	case alloc.SpanTables:
		return "░"
	case alloc.SpanDamaged, alloc.SpanClaimed:
		return "█"
	}
	bars := []rune("▁▂▃▄▅▆▇█")
	return string(bars[min(int(c.Fill*float64(len(bars))), len(bars)-1)])
}

// Letter is a cell in plain text.
func Letter(c live.Cell) byte {
	switch alloc.SpanKind(c.Kind) {
	case alloc.SpanTables:
		return 'T'
	case alloc.SpanSlab:
		if c.Fill >= 0.5 {
			return 'S'
		}
		return 's'
	case alloc.SpanLarge:
		return 'L'
	case alloc.SpanArena:
		return 'A'
	case alloc.SpanClaimed:
		return 'c'
	case alloc.SpanFree:
		return '.'
	}
	return '!'
}

// OnlyLetters reports whether the environment's character set has no block characters.
func OnlyLetters() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := os.Getenv(name); v != "" {
			v = strings.ToUpper(v)
			return !strings.Contains(v, "UTF-8") && !strings.Contains(v, "UTF8")
		}
	}
	return true
}

func (l *Layout) keys() string {
	if l.Status != "" {
		return l.bold(l.Status)
	}
	return l.faint("q quit  tab part  s sort  r reverse  up/down scroll  space pause  +/- interval")
}

func (l *Layout) bold(s string) string { return l.styled(s, lipgloss.NewStyle().Bold(true)) }

func (l *Layout) faint(s string) string { return l.styled(s, lipgloss.NewStyle().Faint(true)) }

func (l *Layout) alarm(s string) string {
	return l.styled(s, lipgloss.NewStyle().Foreground(lipgloss.Color("1")).Bold(true))
}

// header fills the line, so that the parts stand apart.
func (l *Layout) header(s string, active bool) string {
	if !l.Colour {
		return s
	}
	s += strings.Repeat(" ", max(l.width()-lipgloss.Width(s), 0))
	style := lipgloss.NewStyle().Reverse(true)
	return l.styled(s, style.Faint(!active))
}

func (l *Layout) styled(s string, style lipgloss.Style) string {
	if !l.Colour {
		return s
	}
	return style.Render(s)
}
