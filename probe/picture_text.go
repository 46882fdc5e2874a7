package probe

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

const textLabels = 30 // letters left of the chart

// Text writes the picture for a terminal that is width letters wide, at least 60: full blocks for what is
// mapped or used, light ones for what may be anywhere in there, dots in the windows, ^ where the heap
// would be. An owner that is too small for a letter gets one all the same.
func (p *Picture) Text(w io.Writer, width int) error {
	t := &textChart{scale: p.scale(), width: max(width, 60) - textLabels}
	t.line(p.Title, "")
	t.line("", t.numbers(p.Windows))
	for _, s := range p.sections() {
		t.line("-- "+s.title, "")
		for _, r := range s.rows {
			t.line(r.label, t.draw(p.Windows, r))
		}
	}
	if p.Wanted.Start < p.Wanted.End {
		mark := make([]rune, t.column(p.Wanted.Start)+1)
		for i := range mark {
			mark[i] = ' '
		}
		mark[len(mark)-1] = '^'
		t.line("base "+grouped(p.Wanted.Start), string(mark))
	}
	t.line("linear between the ends of windows and zones; in all a logarithmic scale, 0 to "+grouped(p.Top), "")
	_, err := w.Write(t.out.Bytes())
	return err
}

// A textChart is a chart under way.
type textChart struct {
	out   bytes.Buffer
	scale scale
	width int // of the chart, in letters
}

// line writes a label and a line of the chart, without spaces at the end.
func (t *textChart) line(label, chart string) {
	if chart != "" {
		label = shorten(label, textLabels-2)
		label += strings.Repeat(" ", textLabels-utf8.RuneCountInString(label))
	}
	fmt.Fprintln(&t.out, strings.TrimRight(label+chart, " "))
}

// column returns the letter in which an address lies.
func (t *textChart) column(addr uint64) int {
	return min(int(math.Floor(t.scale.of(addr)*float64(t.width))), t.width-1)
}

// cover calls mark for each letter that r has part of: at least one.
func (t *textChart) cover(r Range, mark func(i int)) {
	first := t.column(r.Start)
	last := int(math.Ceil(t.scale.of(r.End)*float64(t.width))) - 1
	for i := first; i <= max(first, min(last, t.width-1)); i++ {
		mark(i)
	}
}

// background is empty, with dots in the windows.
func (t *textChart) background(windows []Window) []rune {
	line := []rune(strings.Repeat(" ", t.width))
	for _, w := range windows {
		t.cover(w.Range, func(i int) { line[i] = '·' })
	}
	return line
}

// numbers writes the number of each window above its middle.
func (t *textChart) numbers(windows []Window) string {
	line := t.background(nil)
	for i, w := range windows {
		middle := (t.column(w.Start) + t.column(w.End)) / 2
		copy(line[middle:], []rune(fmt.Sprint(i+1)))
	}
	return string(line)
}

// draw draws the bars of a row: what is certain covers what may be.
func (t *textChart) draw(windows []Window, r row) string {
	line := t.background(windows)
	for _, b := range r.bars {
		if b.light {
			t.cover(b.Range, func(i int) { line[i] = '░' })
		}
	}
	for _, b := range r.bars {
		if !b.light {
			t.cover(b.Range, func(i int) { line[i] = '█' })
		}
	}
	return string(line)
}
