package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strconv"
	"testing"
)

// TestBars: bars are as long as their values, on either axis, and inside the chart.
func TestBars(t *testing.T) {
	linear := Chart{Title: "a & b", Bars: []Bar{{Label: "x", Value: 10, Min: 5, Max: 20, Ours: true}, {Label: "<y>", Value: 5, Min: 5, Max: 5}}}
	if w := widths(t, &linear); len(w) != 2 || math.Abs(w[0]-2*w[1]) > 0.2 || w[0] > barWidth {
		t.Errorf("widths %v", w)
	}
	log := Chart{Log: true, Bars: []Bar{{Value: 4, Min: 4, Max: 4, Bound: 16}, {Value: 16, Min: 16, Max: 16}, {Value: 0.25, Min: 0.25, Max: 0.25, Bad: true}}}
	if w := widths(t, &log); len(w) != 3 || math.Abs(w[1]-2*w[0]) > 0.2 || math.Abs(w[2]-w[0]) > 0.2 {
		t.Errorf("widths %v", w)
	}
	for _, c := range []Chart{{}, {Log: true}, {Bars: []Bar{{}}}, {Log: true, Bars: []Bar{{}}}} {
		widths(t, &c)
	}
}

// widths are those of the bars of a drawing that is well-formed.
func widths(t *testing.T, c *Chart) (all []float64) {
	t.Helper()
	var out bytes.Buffer
	if err := c.SVG(&out); err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(&out); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		for _, a := range e.Attr {
			v, err := strconv.ParseFloat(a.Value, 64)
			if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
				t.Errorf("%s of %s is %v", a.Name.Local, e.Name.Local, v)
			}
			if e.Name.Local == "rect" && a.Name.Local == "width" {
				all = append(all, v)
			}
		}
	}
}
