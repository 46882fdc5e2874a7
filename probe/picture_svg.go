package probe

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
)

// Measures of the drawing, in pixels.
const (
	svgLabels = 250 // where the chart begins: the labels are left of it
	svgChart  = 960 // its width
	svgNotes  = 390 // beside it
	svgRow    = 17
	svgTitle  = 26 // of a section
	svgHead   = 94 // title, legend, the base and the numbers of the windows
	svgAxis   = 96 // slanted addresses below the chart
	svgTick   = 15 // the least distance of two addresses
)

// svgColours are the fills by class. All are dark enough to be seen on white and on the window bands.
var svgColours = []struct{ class, fill, legend string }{
	{"window", "#2e7d32", "window"},
	{string(ZoneKernel), "#5f6b7a", "kernel"},
	{string(ZoneRuntime), "#c77700", "language runtime"},
	{string(ZoneAllocator), "#8d6e63", "allocator"},
	{string(ZoneSanitizer), "#b23b6b", "sanitizer"},
	{string(ZoneFixedBase), "#7b5ea7", "somebody's fixed base"},
	{"occupant", "#1565c0", "seen mapped"},
	{"heap", "#d32f2f", "heap"},
}

// SVG writes the picture as a drawing with a light background. The exact ranges are titles of the bars,
// which viewers show on demand.
func (p *Picture) SVG(w io.Writer) error {
	d := &drawing{scale: p.scale()}
	sections := p.sections()
	bottom := svgHead + 4
	for _, s := range sections {
		bottom += svgTitle + len(s.rows)*svgRow
	}
	width, height := svgLabels+svgChart+svgNotes, bottom+svgAxis
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="11">`+"\n", width, height, width, height)
	d.printf(`<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	d.text(12, 26, `font-size="17" font-weight="bold" fill="#111"`, p.Title)
	d.legend()
	d.bands(p, bottom)
	y := svgHead
	for _, s := range sections {
		y = d.section(s, y)
	}
	d.axis(p, bottom)
	d.wanted(p, bottom)
	d.printf("</svg>\n")
	_, err := w.Write(d.out.Bytes())
	return err
}

// A drawing is an SVG under way.
type drawing struct {
	out   bytes.Buffer
	scale scale
}

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(&d.out, format, args...) }

// text writes s with its left end at x, unless the attributes say otherwise.
func (d *drawing) text(x, y float64, attributes, s string) {
	d.printf(`<text x="%.1f" y="%.1f" %s>%s</text>`+"\n", x, y, attributes, escape(s))
}

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(printable(s))) // a buffer does not fail
	return b.String()
}

func (d *drawing) x(addr uint64) float64 { return svgLabels + svgChart*d.scale.of(addr) }

func fill(class string) string {
	for _, c := range svgColours {
		if c.class == class {
			return c.fill
		}
	}
	return "#000000"
}

func (d *drawing) legend() {
	x := 12.0
	for _, c := range svgColours {
		d.printf(`<rect x="%.1f" y="40" width="12" height="11" fill="%s"/>`+"\n", x, c.fill)
		d.text(x+17, 50, `fill="#333"`, c.legend)
		x += 34 + 6.6*float64(len(c.legend))
	}
	d.text(x+4, 50, `fill="#666"`, "scale: linear between two tick marks; a part is as wide as the logarithm of its length")
}

// bands marks the windows through all rows, so that one sees who enters them.
func (d *drawing) bands(p *Picture, bottom int) {
	for i, w := range p.Windows {
		left, right := d.x(w.Start), d.x(w.End)
		d.printf(`<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#e3f4e4"/>`+"\n", left, svgHead-4, right-left, bottom-svgHead+4)
		d.text((left+right)/2, svgHead-8, `text-anchor="middle" font-weight="bold" fill="#2e7d32"`, fmt.Sprint(i+1))
	}
	for _, place := range d.scale.place {
		x := svgLabels + svgChart*place
		d.printf(`<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#d9dde2" stroke-width="0.5"/>`+"\n", x, svgHead-4, x, bottom)
	}
}

// section draws the heading and the rows, and returns where the next one begins.
func (d *drawing) section(s section, y int) int {
	d.text(12, float64(y+svgTitle-8), `font-weight="bold" fill="#111"`, s.title)
	d.printf(`<line x1="12" y1="%d" x2="%d" y2="%d" stroke="#9aa3ad"/>`+"\n", y+svgTitle-3, svgLabels+svgChart+svgNotes-12, y+svgTitle-3)
	y += svgTitle
	for _, r := range s.rows {
		d.row(r, float64(y))
		y += svgRow
	}
	return y
}

func (d *drawing) row(r row, y float64) {
	d.text(svgLabels-10, y+12, `text-anchor="end" fill="#222"`, shorten(r.label, 38))
	for _, b := range r.bars {
		opacity, left, right := 1.0, d.x(b.Start), d.x(b.End)
		if b.light {
			opacity = 0.35
		}
		d.printf(`<rect x="%.1f" y="%.1f" width="%.1f" height="11" fill="%s" fill-opacity="%.2f"><title>%s</title></rect>`+"\n",
			left, y+3, max(right-left, 1.5), fill(r.class), opacity, escape(b.title))
	}
	d.text(svgLabels+svgChart+12, y+12, `font-size="10" fill="#666"`, shorten(r.note, 62))
}

// shorten cuts s to n letters.
func shorten(s string, n int) string {
	letters := []rune(s)
	if len(letters) <= n {
		return s
	}
	return string(letters[:n-1]) + "…"
}

// axis writes the addresses below the chart: first those of windows, then others where there is room.
func (d *drawing) axis(p *Picture, bottom int) {
	var ends []uint64
	for _, w := range p.Windows {
		ends = append(ends, w.Start, w.End)
	}
	ends = append(append(ends, 0, p.Top), d.scale.at...)
	var used []float64
	for i, addr := range ends {
		x := d.x(addr)
		if slices.ContainsFunc(used, func(u float64) bool { return x-u < svgTick && u-x < svgTick }) {
			continue
		}
		used = append(used, x)
		colour := "#666"
		if i < 2*len(p.Windows) {
			colour = "#2e7d32"
		}
		d.printf(`<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s"/>`+"\n", x, bottom, x, bottom+5, colour)
		d.printf(`<text transform="translate(%.1f,%d) rotate(-55)" text-anchor="end" font-size="10" fill="%s">%s</text>`+"\n",
			x+3, bottom+13, colour, grouped(addr))
	}
	d.printf(`<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#666"/>`+"\n", svgLabels, bottom, svgLabels+svgChart, bottom)
}

// wanted marks where the heap would be.
func (d *drawing) wanted(p *Picture, bottom int) {
	if p.Wanted.Start >= p.Wanted.End {
		return
	}
	x := d.x(p.Wanted.Start)
	d.printf(`<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#d32f2f" stroke-width="1.2" stroke-dasharray="4 3"/>`+"\n",
		x, svgHead-34, x, bottom)
	label, anchor := x+5, "start"
	if x > svgLabels+svgChart/2 {
		label, anchor = x-5, "end"
	}
	d.text(label, svgHead-26, `fill="#d32f2f" font-weight="bold" text-anchor="`+anchor+`"`, "base "+grouped(p.Wanted.Start))
}
