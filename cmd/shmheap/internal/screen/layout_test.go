package screen

import (
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/live"
)

// crowded is a snapshot with more than fits on any terminal, of peers with any names.
func crowded() *live.Snapshot {
	s := &live.Snapshot{
		Name: "orders", Base: "0x550000000000", Time: time.Unix(0, 0), Size: 1 << 40, Committed: 3 << 30, Limit: 4 << 30,
		Growth: 1 << 20, Live: 123_456_789, LiveBytes: 2 << 30, Allocs: 1.5e6, Frees: 1.4e6, Problem: "granule 7\x1b[2J is damaged",
	}
	for i := range 40 {
		s.Peers = append(s.Peers, live.Peer{
			ID: fmt.Sprintf("%d.1", i), PID: 1000 + i, Program: "evil\x1b]0;x\x07\nname " + strings.Repeat("世", 20), Alive: i%2 == 0,
			Held: uint64(i) << 20, AllocRate: float64(40 - i), Blocks: uint64(i),
		})
		s.Queues = append(s.Queues, live.Queue{Root: fmt.Sprint("queue ", i), Kind: "mpmc", Cap: 1 << 24, Depth: i, PopWaits: true})
		s.Classes = append(s.Classes, live.Class{Size: uint64(16 * (i + 1)), Live: uint64(i), Free: 1, Slabs: 1})
	}
	for i := range 1000 {
		s.Cells = append(s.Cells, live.Cell{Kind: []string{"tables", "slab", "large", "arena", "claimed", "free", "damaged", "nonsense"}[i%8], Fill: float64(i) / 999})
	}
	return s
}

// TestFits: whatever there is to show, the screen has as many lines as the terminal, none of them is wider, and
// nothing that a peer says of itself reaches the terminal as a command.
func TestFits(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {80, 10}, {200, 60}, {40, 24}, {20, 6}} {
		for _, colour := range []bool{true, false} {
			l := Layout{Width: size[0], Height: size[1], Colour: colour}
			s := crowded()
			s.Cells = s.Cells[:min(l.Cells(), len(s.Cells))]
			lines := strings.Split(l.Render(s), "\n")
			if len(lines) != size[1] {
				t.Errorf("%v: %d lines", size, len(lines))
			}
			for _, line := range lines {
				if w := lipgloss.Width(line); w > size[0] {
					t.Errorf("%v: a line of %d: %q", size, w, line)
				}
				if strings.Contains(line, "\x1b[2J") || strings.Contains(line, "\x1b]") || strings.ContainsAny(line, "\x07\t") || !colour && strings.Contains(line, "\x1b") {
					t.Errorf("%v: escapes in %q", size, line)
				}
			}
		}
	}
}

// TestAllPartsShow: at 80x24 each table has lines, the map is there, and the last line says the keys.
func TestAllPartsShow(t *testing.T) {
	s := crowded()
	s.Cells = s.Cells[:240]
	l := Layout{Width: 80, Height: 24}
	text := l.Render(s)
	for _, want := range []string{"*HOLDS", " 1-5/40", " 1-4/40", "39 MiB", "queue 39", "*DEPTH", "*BYTES", "24 KiB", "map:", "q quit", "problem: granule 7?[2J", "dead"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// TestSortAndScroll: the largest come first, or last, and lines that do not fit can be scrolled to.
func TestSortAndScroll(t *testing.T) {
	s := crowded()
	first := func(l Layout) string {
		line := strings.Split(l.Render(s), "\n")[4]
		return strings.Join(strings.Fields(line)[:3], " ")
	}
	l := Layout{Width: 120, Height: 30}
	if got := first(l); got != "39 MiB 1.0" {
		t.Errorf("by what they hold: %q", got)
	}
	l.Reverse[0] = true
	if got := first(l); got != "0 B 40" {
		t.Errorf("in reverse: %q", got)
	}
	l.Reverse[0], l.Sort[0] = false, 1
	if got := first(l); got != "0 B 40" {
		t.Errorf("by rate: %q", got)
	}
	l.From[0] = 3
	if got := first(l); got != "3.0 MiB 37" {
		t.Errorf("scrolled: %q", got)
	}
	l.From[0] = 1000
	if l.Render(s); l.From[0] >= 40 {
		t.Errorf("scrolled to %d of 40", l.From[0])
	}
}

func TestRate(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.2: "0.2", 9.94: "9.9", 1234: "1234", 56_789: "56.8k", 2.5e6: "2.5M", -300: "-300"} {
		if got := Rate(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}

// TestLegend: it is whole at 80 columns, names each kind of cell by what the map shows, and without colours, which
// would tell kinds apart, the map is in letters.
func TestLegend(t *testing.T) {
	s := crowded()
	s.Cells = []live.Cell{{Kind: "large", Fill: 1}, {Kind: "arena", Fill: 1}}
	m := NewModel(func(int) (*live.Snapshot, error) { return s, nil }, time.Second)
	m.layout.Letters = false
	m.Init()
	last := func() string {
		lines := strings.Split(strings.TrimRight(m.layout.Render(m.shot), "\n"), "\n")
		for i, line := range lines {
			if strings.Contains(line, "map:") {
				return line + "\n" + lines[i+1]
			}
		}
		return ""
	}
	coloured := last()
	for _, want := range []string{"tables", "slab", "large", "arena", "claimed", "· free", "damaged", "\x1b[35m█\x1b[m\x1b[32m█"} {
		if !strings.Contains(coloured, want) {
			t.Errorf("no %q in %q", want, coloured)
		}
	}
	m.Update(tea.ColorProfileMsg{Profile: colorprofile.ASCII})
	plain := last()
	for _, want := range []string{"T tables", "L large", "A arena", "! damaged", "mL\x1b", "mA\x1b"} {
		if !strings.Contains(plain, want) {
			t.Errorf("no %q in %q", want, plain)
		}
	}
}
