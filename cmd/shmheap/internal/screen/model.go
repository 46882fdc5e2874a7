package screen

import (
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/live"
)

// Model is the screen as a program of the terminal.
type Model struct {
	// Look looks at the heap, with so many cells.
	Look func(cells int) (*live.Snapshot, error)
	// Err is why the screen ended, nil when it was asked to.
	Err error

	layout   Layout
	interval time.Duration
	shot     *live.Snapshot
	paused   bool
	round    int // of ticks: those of an interval that was changed are ignored
}

// NewModel makes a screen that looks so often.
func NewModel(look func(int) (*live.Snapshot, error), interval time.Duration) *Model {
	return &Model{
		Look: look, interval: interval,
		layout: Layout{Width: 80, Height: 24, Colour: true, Letters: OnlyLetters(), Sort: [Parts]int{0, 0, 0}},
	}
}

// Bounds of the interval.
const (
	MinInterval = 100 * time.Millisecond
	MaxInterval = time.Minute
)

type tick int

// Init implements tea.Model.
func (m *Model) Init() tea.Cmd {
	m.look()
	return m.next()
}

func (m *Model) next() tea.Cmd {
	if m.Err != nil {
		return tea.Quit
	}
	round := tick(m.round)
	return tea.Tick(m.interval, func(time.Time) tea.Msg { return round })
}

func (m *Model) look() {
	if s, err := m.Look(m.layout.Cells()); err != nil {
		m.Err = err
	} else {
		m.shot = s
	}
}

// Update implements tea.Model.
func (m *Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.layout.Width, m.layout.Height = msg.Width, msg.Height
	case tea.ColorProfileMsg:
		// Without colours (NO_COLOR, TERM=dumb) cells of different kinds would look the same.
		m.layout.Letters = m.layout.Letters || msg.Profile < colorprofile.ANSI
	case tea.KeyPressMsg:
		return m, m.key(msg.String())
	case tick:
		if int(msg) != m.round {
			return m, nil
		}
		if !m.paused {
			m.look()
		}
		return m, m.next()
	}
	return m, nil
}

func (m *Model) key(name string) tea.Cmd {
	part := m.layout.Active
	switch name {
	case "q", "ctrl+c", "esc":
		return tea.Quit
	case "tab":
		m.layout.Active = (part + 1) % Parts
	case "shift+tab":
		m.layout.Active = (part + Parts - 1) % Parts
	case "s", "right":
		m.layout.Sort[part]++
	case "S", "left":
		m.layout.Sort[part] += len(m.layout.parts(&live.Snapshot{})[part].columns) - 1
	case "r":
		m.layout.Reverse[part] = !m.layout.Reverse[part]
	case "up", "k":
		m.layout.From[part]--
	case "down", "j":
		m.layout.From[part]++
	case "space":
		m.paused = !m.paused
	case "+", "=":
		return m.change(m.interval / 2)
	case "-":
		return m.change(m.interval * 2)
	}
	m.layout.Status = ""
	if m.paused {
		m.layout.Status = "paused: space goes on, q quits"
	}
	return nil
}

// change begins to look more often or less.
func (m *Model) change(interval time.Duration) tea.Cmd {
	m.interval = min(max(interval, MinInterval), MaxInterval)
	m.layout.Status = "every " + m.interval.String()
	m.round++
	return m.next()
}

// View implements tea.Model.
func (m *Model) View() tea.View {
	v := tea.NewView("")
	if m.shot != nil {
		v.SetContent(m.layout.Render(m.shot))
	}
	v.AltScreen = true
	v.WindowTitle = "shmheap top"
	return v
}
