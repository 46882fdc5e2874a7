package probe

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"strings"
)

// Picture is the address space with what is in it: a row for each owner, addresses from left to right.
// The scale changes at every end of a zone or a window and is linear in between: a part is as wide as
// the logarithm of its length, so that 1 GiB can be seen beside 64 TiB. It is plain data.
type Picture struct {
	Title     string     // above it
	Top       uint64     // where the address space ends
	Windows   []Window   // in the order of their numbers
	Zones     []Zone     // grouped by kind
	Occupants []Occupant // processes and programs
	Heaps     []Occupant // whose only obstacle is the heap
	Wanted    Range      // where a heap would be, or nothing
}

// NewPicture makes a picture of an outlook on this system: its windows and zones, this process, and
// others.
func NewPicture(title string, o *Outlook, occupants, heaps []Occupant) *Picture {
	p := &Picture{Title: title, Top: math.MaxUint64, Zones: Zones(), Heaps: heaps, Wanted: o.Range()}
	if top := topDefault(); top != math.MaxUint64 {
		p.Top = roundUp(top, Slot)
	}
	for _, w := range o.Windows {
		p.Windows = append(p.Windows, w.Window)
		p.Top = max(p.Top, roundUp(w.End, Slot))
	}
	p.Occupants = append([]Occupant{ThisProcess()}, occupants...)
	return p
}

// A row is one line of the picture.
type row struct {
	label string
	class string // how it is drawn: a window, a kind of zone, an occupant, a heap
	bars  []bar
	note  string // beside it
}

type bar struct {
	Range
	light bool   // it may be anywhere in there
	title string // for who asks
}

// A section is a group of rows with a heading.
type section struct {
	title string
	rows  []row
}

func (p *Picture) sections() []section {
	sections := []section{
		{"windows, where heaps are placed", p.windowRows()},
		{"used by others in some programs", p.zoneRows()},
		{"seen", occupantRows("occupant", p.Occupants)},
		{"heaps", occupantRows("heap", p.Heaps)},
	}
	return slices.DeleteFunc(sections, func(s section) bool { return len(s.rows) == 0 })
}

func (p *Picture) windowRows() []row {
	var rows []row
	for i, w := range p.Windows {
		rows = append(rows, row{
			label: fmt.Sprintf("%d  %s", i+1, w.Name), class: "window", note: span(w.Range),
			bars: []bar{{w.Range, false, w.Reason}},
		})
	}
	return rows
}

// zoneRows returns the zones, the kinds together, in the order in which the kinds first come.
func (p *Picture) zoneRows() []row {
	var kinds []ZoneKind
	for _, z := range p.Zones {
		if !slices.Contains(kinds, z.Kind) {
			kinds = append(kinds, z.Kind)
		}
	}
	var rows []row
	for _, kind := range kinds {
		for _, z := range p.Zones {
			if z.Kind != kind {
				continue
			}
			r := row{label: z.Owner, class: string(z.Kind), note: z.Source}
			for _, one := range z.Ranges {
				r.bars = append(r.bars, bar{one, false, z.Owner + " " + span(one)})
			}
			rows = append(rows, r)
		}
	}
	return rows
}

func occupantRows(class string, occupants []Occupant) []row {
	var rows []row
	for _, o := range occupants {
		r := row{label: o.Name, class: class, note: count(len(o.Obstacles), "mapping")}
		if o.Profile != nil {
			r.note = count(len(o.Profile.Runs), "run") + "; pale: random, may be anywhere there"
		}
		if len(o.Obstacles) == 1 {
			r.note = span(o.Obstacles[0].Range)
		}
		for _, obstacle := range o.Obstacles {
			r.bars = append(r.bars, bar{obstacle.Range, obstacle.Random, obstacle.String()})
		}
		rows = append(rows, r)
	}
	return rows
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// span writes a range for people: its start, and its length in the largest unit.
func span(r Range) string { return fmt.Sprintf("%s + %s", grouped(r.Start), length(r.Size())) }

// grouped writes an address as 0x5500_0000_0000.
func grouped(n uint64) string {
	digits := fmt.Sprintf("%x", n)
	var parts []string
	for ; len(digits) > 4; digits = digits[:len(digits)-4] {
		parts = append(parts, digits[len(digits)-4:])
	}
	parts = append(parts, digits)
	slices.Reverse(parts)
	return "0x" + strings.Join(parts, "_")
}

// length writes a number of bytes with three digits.
func length(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	v := float64(n)
	for len(units) > 1 && v >= 1024 {
		v, units = v/1024, units[1:]
	}
	return fmt.Sprintf("%.4g %s", math.Round(v*10)/10, units[0])
}

// A scale maps addresses to places from 0 to 1.
type scale struct {
	at    []uint64  // ascending, where the scale changes
	place []float64 // of each
}

const (
	manyRanges  = 4 // a zone with more does not change the scale: it would be drawn at the cost of others
	firstWindow = 4 // how much wider the first window is drawn, because heaps are there
)

// scale makes the scale of p: one part between any two ends of windows and zones.
func (p *Picture) scale() scale {
	ends := []uint64{0, p.Top}
	for _, w := range p.Windows {
		ends = append(ends, w.Start, w.End)
	}
	for _, z := range p.Zones {
		if len(z.Ranges) > manyRanges {
			continue
		}
		for _, r := range z.Ranges {
			ends = append(ends, min(r.Start, p.Top), min(r.End, p.Top))
		}
	}
	slices.Sort(ends)
	s := scale{at: slices.Compact(ends), place: []float64{0}}
	for i := 1; i < len(s.at); i++ {
		width := weight(s.at[i] - s.at[i-1])
		if len(p.Windows) > 0 && p.Windows[0].Contains(s.at[i-1]) {
			width *= firstWindow
		}
		s.place = append(s.place, s.place[i-1]+width)
	}
	total := s.place[len(s.place)-1]
	for i := range s.place {
		s.place[i] /= cmp.Or(total, 1)
	}
	return s
}

// weight returns how wide a part of the scale is, compared with others.
func weight(size uint64) float64 { return max(0.5, math.Log2(float64(size)/(1<<28))) }

// of returns the place of an address.
func (s scale) of(addr uint64) float64 {
	i := sort.Search(len(s.at), func(i int) bool { return s.at[i] >= addr })
	switch {
	case i == len(s.at):
		return 1
	case s.at[i] == addr:
		return s.place[i]
	}
	part := float64(addr-s.at[i-1]) / float64(s.at[i]-s.at[i-1])
	return s.place[i-1] + part*(s.place[i]-s.place[i-1])
}

// Explain writes the reason for each window, a line each.
func (p *Picture) Explain(w io.Writer) error {
	for i, window := range p.Windows {
		if _, err := fmt.Fprintf(w, "%d  %s: %s\n", i+1, window.Name, window.Reason); err != nil {
			return err
		}
	}
	return nil
}
