package main

import (
	"fmt"
	"io"
	"math"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/shmheap/shmheap/internal/bench"
)

// benchPrinter prints a report as text or in Markdown.
type benchPrinter struct {
	out      io.Writer
	markdown bool
	report   *bench.Report
}

// printBench prints a report: JSON where that is asked for, and tables otherwise.
func (a *app) printBench(r *bench.Report, markdown bool) error {
	if a.json {
		return a.printJSON(newBenchJSON(r))
	}
	p := &benchPrinter{a.out, markdown, r}
	p.machine()
	p.rates()
	p.ratios()
	p.latencies()
	p.memory()
	p.recovery()
	p.targets()
	return nil
}

// workloadJSON is what "bench alloc --list --json" prints for each.
type workloadJSON struct {
	Name    string `json:"name"`
	About   string `json:"about"`
	Unit    string `json:"unit"`
	Workers int    `json:"workers"`
}

// printWorkloads says what there is to measure.
func (a *app) printWorkloads(markdown bool) error {
	all := []workloadJSON{}
	p := &benchPrinter{out: a.out, markdown: markdown}
	t := p.table(3, "name", "what happens", "an operation is")
	for _, w := range bench.Workloads() {
		all = append(all, workloadJSON{w.Name, w.About, w.Unit, w.Workers})
		t.AppendRow(table.Row{w.Name, w.About, w.Unit})
	}
	if a.json {
		return a.printJSON(all)
	}
	p.render(t)
	return nil
}

func (p *benchPrinter) printf(format string, args ...any) { fmt.Fprintf(p.out, format, args...) }

func (p *benchPrinter) heading(format string, args ...any) {
	mark := ""
	if p.markdown {
		mark = "### "
	}
	p.printf("\n%s%s\n\n", mark, fmt.Sprintf(format, args...))
}

// table starts a table whose first columns are words and whose others are numbers.
func (p *benchPrinter) table(words int, header ...any) table.Writer {
	t := newTable(nil, table.Row(header))
	var columns []table.ColumnConfig
	for i := words; i < len(header); i++ {
		columns = append(columns, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	return t
}

func (p *benchPrinter) render(t table.Writer) {
	if p.markdown {
		p.printf("%s\n", t.RenderMarkdown())
		return
	}
	p.printf("%s\n", t.Render())
}

func (p *benchPrinter) machine() {
	m := &p.report.Machine
	p.printf("%s, %s and %s; Linux %s, %s, pages of %d bytes; %s", m.CPU, plural(m.Processors, "processor", "processors"),
		plural(m.Cores, "core", "cores"), m.Kernel, m.System, m.PageSize, m.Go)
	if m.Compiler != "" {
		p.printf("; %s", m.Compiler)
	}
	p.printf("\n%s of %v\n", plural(p.report.Rounds, "round", "rounds"), p.report.Time)
	for _, x := range p.report.Peers {
		switch {
		case x.Missing != "":
			p.printf("%s: missing: %s\n", x.Name, x.Missing)
		case x.Version != "" && x.Library != "":
			p.printf("%s: %s, %s\n", x.Name, x.Version, x.Library)
		case x.Version != "":
			p.printf("%s: %s\n", x.Name, x.Version)
		}
	}
}

// subjects are the names of the columns: all that took part in anything.
func (p *benchPrinter) subjects() (names []string) {
	seen := map[string]bool{}
	for i := range p.report.Workloads {
		for _, row := range p.report.Workloads[i].Rows {
			if row.TookPart() {
				seen[row.Subject] = true
			}
		}
	}
	for _, name := range bench.SubjectNames() {
		if seen[name] {
			names = append(names, name)
		}
	}
	return names
}

func (p *benchPrinter) rates() {
	if len(p.report.Workloads) == 0 {
		return
	}
	p.heading("Operations a second: median (least..most) of the rounds")
	p.matrix(p.subjects(), func(_ *bench.Measured, row *bench.Row) string {
		r := row.Rate()
		return fmt.Sprintf("%s (%s..%s)", rate(r.Median), rate(r.Min), rate(r.Max))
	})
}

func (p *benchPrinter) ratios() {
	names := p.subjects()
	if len(names) < 2 {
		return
	}
	p.heading("How many times as fast as each other subject a Cache is: median (least..most) of the rounds")
	p.matrix(names[1:], func(m *bench.Measured, row *bench.Row) string {
		cache := m.Row(bench.SubjectCache)
		if cache == nil {
			return ""
		}
		r, ok := bench.Ratio(cache, row)
		if !ok {
			return ""
		}
		return fmt.Sprintf("%s (%s..%s)", digits(r.Median), digits(r.Min), digits(r.Max))
	})
}

// matrix prints a table of workloads and subjects.
func (p *benchPrinter) matrix(names []string, cell func(*bench.Measured, *bench.Row) string) {
	header := []any{"workload"}
	for _, name := range names {
		header = append(header, name)
	}
	t := p.table(1, header...)
	for i := range p.report.Workloads {
		m := &p.report.Workloads[i]
		line := table.Row{m.Name}
		for _, name := range names {
			text := "-"
			if row := m.Row(name); row != nil {
				text = cell(m, row)
			}
			line = append(line, text)
		}
		t.AppendRow(line)
	}
	p.render(t)
}

func (p *benchPrinter) latencies() {
	if len(p.report.Workloads) == 0 {
		return
	}
	p.heading("Nanoseconds of a call, medians of the rounds: p50 / p99 / p99.9; and the share of time that others had the processors")
	t := p.table(2, "workload", "subject", "alloc p50", "p99", "p99.9", "free p50", "p99", "p99.9", "others")
	for i := range p.report.Workloads {
		m := &p.report.Workloads[i]
		for _, row := range m.Rows {
			if !row.TookPart() || len(row.Alloc) == 0 {
				continue
			}
			line := table.Row{m.Name, row.Subject}
			line = append(line, percentiles(row.Alloc)...)
			line = append(line, percentiles(row.Free)...)
			t.AppendRow(append(line, fmt.Sprintf("%.0f %%", 100*row.Lost)))
		}
	}
	p.render(t)
}

func percentiles(rounds []bench.Latency) table.Row {
	if len(rounds) == 0 {
		return table.Row{"-", "-", "-"}
	}
	var cells table.Row
	for i := range 3 {
		cells = append(cells, nanoseconds(bench.Percentile(rounds, i).Median))
	}
	return cells
}

// nanoseconds rounds to what the clock can tell.
func nanoseconds(v float64) string { return number(int64(math.Round(v))) }

func (p *benchPrinter) memory() {
	m := p.report.Memory
	if m == nil {
		return
	}
	p.heading("Memory")
	t := p.table(1, "what", "bytes", "beside", "ratio")
	for _, x := range []struct {
		name   string
		tables bench.Tables
	}{{"tables for blocks of 64 bytes", m.Small}, {"tables for blocks of 1 KiB", m.Medium}} {
		t.AppendRow(table.Row{x.name, size(x.tables.Tables), size(x.tables.Live) + " live",
			fmt.Sprintf("%.2f %% (%s of it in an empty heap)", 100*x.tables.Overhead(), size(x.tables.Fixed))})
	}
	for i := range m.Mixed {
		x := &m.Mixed[i]
		t.AppendRow(table.Row{"committed, " + number(x.Live) + " mixed blocks", size(x.Committed), size(x.Rounded) + " live, rounded to classes",
			fmt.Sprintf("%.3f", x.PerRounded())})
		t.AppendRow(table.Row{"of it in free blocks of slabs", size(x.InSlabs), "", ""})
		t.AppendRow(table.Row{"in free granules", size(x.Kept), "", ""})
	}
	t.AppendRow(table.Row{"storage of the file when full", size(m.Drain.Full), size(m.Drain.Empty) + " when empty", ""})
	t.AppendRow(table.Row{"when all is freed", size(m.Drain.Freed), "", ""})
	t.AppendRow(table.Row{"after Trim", size(m.Drain.Trimmed), "", fmt.Sprintf("%.1f %% returned", 100*m.Drain.Returned())})
	p.render(t)
	p.mixed()
}

// mixed puts what the subjects have in memory beside what was asked for.
func (p *benchPrinter) mixed() {
	m := p.report.Memory
	p.heading("In memory for each byte requested, mixed sizes: means of the steady state")
	t := p.table(1, "allocator", "blocks", "requested", "at most", "in memory", "ratio")
	for i := range m.Mixed {
		x := &m.Mixed[i]
		t.AppendRow(table.Row{bench.SubjectCache, number(x.Live), size(x.Requested), size(x.Peak), size(x.Committed), fmt.Sprintf("%.3f", x.PerRequested())})
		for k := range m.Beside {
			y := &m.Beside[k]
			switch {
			case y.Live != x.Live:
			case y.Why != "":
				t.AppendRow(table.Row{y.Subject, number(y.Live), "-", "-", "-", "-"})
			default:
				t.AppendRow(table.Row{y.Subject, number(y.Live), size(y.Requested), size(y.Peak), size(y.Resident), fmt.Sprintf("%.3f", y.PerRequested())})
			}
		}
	}
	p.render(t)
}

func (p *benchPrinter) recovery() {
	r := p.report.Recovery
	if r == nil {
		return
	}
	p.heading("A process is killed that has slabs of %s blocks of 64 bytes: median (least..most)", number(r.Blocks))
	t := p.table(1, "what", "time")
	t.AppendRow(table.Row{"until its death is noticed", spreadOf(r.Noticed, "ms")})
	t.AppendRow(table.Row{"until all is recovered", spreadOf(r.Recover, "ms")})
	t.AppendRow(table.Row{"for each block", spreadOf(r.PerBlock, "ns")})
	p.render(t)
}

func (p *benchPrinter) targets() {
	p.heading("Targets")
	t := p.table(1, "target", "bound", "measured", "met")
	for i := range p.report.Targets {
		x := &p.report.Targets[i]
		if x.Why != "" {
			continue
		}
		bound := "<= "
		if x.AtLeast {
			bound = ">= "
		}
		t.AppendRow(table.Row{x.Name, bound + digits(x.Bound) + " " + x.Unit, spreadOf(x.Measured, x.Unit), verdict(x.Met(), "yes", "NO")})
	}
	p.render(t)
}

func spreadOf(s bench.Spread, unit string) string {
	if s.Min == s.Max {
		return digits(s.Median) + " " + unit
	}
	return fmt.Sprintf("%s (%s..%s) %s", digits(s.Median), digits(s.Min), digits(s.Max), unit)
}

// rate writes a number for each second.
func rate(v float64) string {
	switch {
	case v >= 1e6:
		return digits(v/1e6) + "M"
	case v >= 1e3:
		return digits(v/1e3) + "k"
	}
	return digits(v)
}

// digits writes a number with three digits or so.
func digits(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1000:
		return number(int64(math.Round(v)))
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 0.1 || a == 0:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.4f", v)
}
