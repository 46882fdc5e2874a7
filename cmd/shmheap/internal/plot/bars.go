// Package plot draws bars as SVG: measurements side by side, with their extremes.
package plot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
)

// Bar is one line of a chart.
type Bar struct {
	Label    string
	Value    float64
	Min, Max float64 // extremes of the rounds; as the value where there is one round
	Bound    float64 // marked with a line, 0 for none
	Text     string  // behind the bar
	Ours     bool    // has the colour of what is ours
	Bad      bool    // has the colour of a bound that is missed
}

// Chart is bars over one axis.
type Chart struct {
	Title string
	Unit  string
	Bars  []Bar
	Log   bool // the axis is logarithmic, and has a line at 1: for ratios
}

// Measures in pixels.
const (
	labelWidth = 400
	barWidth   = 430
	textWidth  = 120
	lineHeight = 20
	headHeight = 30
	width      = labelWidth + barWidth + textWidth
)

// SVG writes the chart.
func (c *Chart) SVG(w io.Writer) error {
	var out bytes.Buffer
	height := headHeight + len(c.Bars)*lineHeight + 8
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="12" role="img">`+"\n", width, height, width, height)
	fmt.Fprintf(&out, `<title>%s</title><text x="0" y="16" font-weight="bold" fill="currentColor">%s</text>`+"\n", escape(c.Title), escape(c.Title))
	x := c.axis()
	if c.Log {
		fmt.Fprintf(&out, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#999" stroke-dasharray="3 3"/>`+"\n", x(1), x(1), headHeight-6, height-6)
	}
	for i := range c.Bars {
		c.bar(&out, &c.Bars[i], headHeight+i*lineHeight, x)
	}
	out.WriteString("</svg>\n")
	_, err := w.Write(out.Bytes())
	return err
}

func (c *Chart) bar(out *bytes.Buffer, b *Bar, y int, x func(float64) float64) {
	colour := "#8a939e"
	switch {
	case b.Bad:
		colour = "#c62828"
	case b.Ours:
		colour = "#1e6fc0"
	}
	from := float64(labelWidth)
	if c.Log {
		from = x(1)
	}
	left, right := min(from, x(b.Value)), max(from, x(b.Value))
	fmt.Fprintf(out, `<text x="%d" y="%d" text-anchor="end" fill="currentColor">%s</text>`, labelWidth-8, y+13, escape(b.Label))
	fmt.Fprintf(out, `<rect x="%.1f" y="%d" width="%.1f" height="12" fill="%s"/>`, left, y+3, max(right-left, 1), colour)
	if b.Min < b.Max {
		fmt.Fprintf(out, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#222" stroke-width="1.5"/>`, x(b.Min), x(b.Max), y+9, y+9)
	}
	if b.Bound > 0 {
		fmt.Fprintf(out, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#2e7d32" stroke-width="2"/>`, x(b.Bound), x(b.Bound), y, y+18)
	}
	fmt.Fprintf(out, `<text x="%d" y="%d" fill="currentColor">%s</text>`+"\n", labelWidth+barWidth+8, y+13, escape(b.Text))
}

// axis returns where a value lies.
func (c *Chart) axis() func(float64) float64 {
	low, high := 0.0, 0.0
	if c.Log {
		low, high = math.Inf(1), math.Inf(-1)
	}
	for _, b := range c.Bars {
		for _, v := range []float64{b.Value, b.Min, b.Max, b.Bound} {
			if v > 0 {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if !c.Log {
		return func(v float64) float64 { return labelWidth + barWidth*v/max(high, 1e-300) }
	}
	low, high = math.Log(min(low, 0.9)), math.Log(max(high, 1.1))
	return func(v float64) float64 {
		return labelWidth + barWidth*(math.Log(max(v, 1e-300))-low)/(high-low)
	}
}

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a buffer does not fail
	return b.String()
}
