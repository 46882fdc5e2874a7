package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"

	"github.com/shmheap/shmheap/cmd/shmheap/internal/plot"
)

//go:embed bench_page.html
var benchPageText string

var benchPage = template.Must(template.New("page").Parse(benchPageText))

// page is what the template of the report gets.
type page struct {
	Machine string
	When    string
	Peers   []string
	Targets []target
	Groups  []chartGroup
}

// chartGroup is a part of the report with some charts.
type chartGroup struct {
	Title  string
	About  string
	Charts []template.HTML
}

// writePage writes the report.
func writePage(w io.Writer, j *benchAllJSON) error {
	p := page{Machine: machineLine(&j.Machine), When: j.Measured.Format("2006-01-02 15:04 MST"), Targets: targetsOf(j)}
	if j.Alloc != nil {
		for _, x := range j.Alloc.Peers {
			p.Peers = append(p.Peers, strings.Join(strings.Fields(x.Name+" "+x.Version+" "+missing(x.Missing)), " "))
		}
	}
	var err error
	if p.Groups, err = groups(j); err != nil {
		return err
	}
	return benchPage.Execute(w, &p)
}

func missing(why string) string {
	if why == "" {
		return ""
	}
	return "(missing: " + why + ")"
}

func groups(j *benchAllJSON) (all []chartGroup, err error) {
	add := func(title, about string, charts ...*plot.Chart) {
		g := chartGroup{Title: title, About: about}
		for _, c := range charts {
			if len(c.Bars) == 0 {
				continue
			}
			var text strings.Builder
			if e := c.SVG(&text); e != nil {
				err = e
			}
			g.Charts = append(g.Charts, template.HTML(text.String())) // our own drawing, whose texts are escaped
		}
		if len(g.Charts) > 0 {
			all = append(all, g)
		}
	}
	add("Targets", "Ratios beside their bounds, which are the green lines.", targetChart(j))
	if j.Alloc != nil {
		for i := range j.Alloc.Workloads {
			w := &j.Alloc.Workloads[i]
			add("alloc: "+w.Name, w.About, rateChart(w), ratioChart(w))
		}
	}
	if j.Queue != nil {
		for i := range j.Queue.Workloads {
			w := &j.Queue.Workloads[i]
			add("queue: "+w.Name, w.About, queueChart(w))
		}
	}
	return all, err
}

// targetChart shows the targets that are ratios.
func targetChart(j *benchAllJSON) *plot.Chart {
	c := &plot.Chart{Title: "measured beside the other", Log: true}
	add := func(name string, v, low, high, bound float64, met bool) {
		c.Bars = append(c.Bars, plot.Bar{Label: name, Value: v, Min: low, Max: high, Bound: bound, Text: digits(v) + " x", Ours: true, Bad: !met})
	}
	if j.Alloc != nil {
		for i := range j.Alloc.Targets {
			if x := &j.Alloc.Targets[i]; x.Measured != nil && x.Unit == "times" {
				add(x.Name, x.Measured.Median, x.Measured.Min, x.Measured.Max, x.Bound, x.Met)
			}
		}
	}
	if j.Queue != nil {
		for i := range j.Queue.Targets {
			if x := &j.Queue.Targets[i]; x.Why == "" {
				add(x.Name, x.Ratio, x.Ratio, x.Ratio, x.Bound, x.Met)
			}
		}
	}
	return c
}

// ours are the subjects that have this library's colour.
func ours(subject string) bool {
	return subject == "cache" || subject == "allocator" || strings.HasPrefix(subject, "shmheap")
}

func rateChart(w *benchWorkloadJSON) *plot.Chart {
	c := &plot.Chart{Title: "operations a second: " + w.Unit}
	for _, r := range w.Rows {
		if r.Rate != nil {
			c.Bars = append(c.Bars, plot.Bar{Label: r.Subject, Value: r.Rate.Median, Min: r.Rate.Min, Max: r.Rate.Max, Text: rate(r.Rate.Median), Ours: ours(r.Subject)})
		}
	}
	return c
}

func ratioChart(w *benchWorkloadJSON) *plot.Chart {
	c := &plot.Chart{Title: "how many times as fast as each a Cache is", Log: true}
	for _, r := range w.Rows {
		if r.Ratio != nil && r.Subject != "cache" {
			c.Bars = append(c.Bars, plot.Bar{Label: r.Subject, Value: r.Ratio.Median, Min: r.Ratio.Min, Max: r.Ratio.Max, Text: digits(r.Ratio.Median) + " x", Ours: ours(r.Subject)})
		}
	}
	return c
}

func queueChart(w *queueWorkloadJSON) *plot.Chart {
	c := &plot.Chart{Title: "nanoseconds of an operation, best round and the others"}
	for _, r := range w.Subjects {
		if len(r.NS) == 0 {
			continue
		}
		best, worst := math.Inf(1), 0.0
		for _, v := range r.NS {
			best, worst = min(best, v), max(worst, v)
		}
		c.Bars = append(c.Bars, plot.Bar{Label: r.Name, Value: best, Min: best, Max: worst, Text: fmt.Sprintf("%s ns", digits(best)), Ours: ours(r.Name)})
	}
	return c
}
