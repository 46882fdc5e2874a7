package bench

import (
	"strings"
	"testing"
)

// made is a report with the rates and latencies of two rounds.
func made() *Report {
	row := func(subject string, a, b, p999 float64) *Row {
		l := Latency{Calls: 1000, Values: [3]float64{1, 2, p999}}
		return &Row{Subject: subject, Rates: []float64{a, b}, Alloc: []Latency{l, l}, Free: []Latency{l, l}}
	}
	return &Report{Workloads: []Measured{
		{Workload: Workload{Name: "pairs/1"}, Rows: []*Row{
			row(SubjectCache, 100, 110, 50), row(SubjectMimalloc, 100, 100, 60), {Subject: SubjectFixed, Why: "missing"},
		}},
		{Workload: Workload{Name: "pairs/2"}, Rows: []*Row{row(SubjectCache, 180, 190, 299), row(SubjectFixed, 4, 4, 20_000)}},
	}}
}

func target(t *testing.T, r *Report, name string) *Target {
	t.Helper()
	for i := range r.Targets {
		if strings.Contains(r.Targets[i].Name, name) {
			return &r.Targets[i]
		}
	}
	t.Fatalf("no target %q", name)
	return nil
}

func TestTargetsAreJudgedByMedians(t *testing.T) {
	r := made()
	r.Memory = &Memory{
		Small: Tables{Live: 100, Tables: 4}, Medium: Tables{Live: 100, Tables: 2},
		Mixed: []Steady{{Rounded: 100, Committed: 110}}, Drain: Drain{Empty: 10, Full: 110, Trimmed: 20},
	}
	r.Recovery = &Recovery{PerBlock: exactly(4), Noticed: exactly(20)}
	r.judge()
	for _, c := range []struct {
		name   string
		median float64
		met    bool
	}{
		{"a Cache beside mimalloc", 1.05, true},
		{"pairs in two processes, beside the same", 46.25, true},
		{"two processes beside one", (1.8 + 190.0/110) / 2, false},
		{"p99.9 of alloc", 299, true},
		{"Boost's beside ours", 20_000.0 / 299, true},
		{"blocks of 64 bytes", 4, true},
		{"blocks of 1 KiB", 2, false},
		{"committed beside live", 1.1, true},
		{"given back", 90, false},
		{"recovery", 4, true},
		{"noticed", 20, false},
	} {
		x := target(t, r, c.name)
		if off := x.Measured.Median - c.median; x.Why != "" || off < -1e-9 || off > 1e-9 || x.Met() != c.met {
			t.Errorf("%s: %+v, met %v; want %v, %v", c.name, *x, x.Met(), c.median, c.met)
		}
	}
}

func TestWhatWasNotMeasuredIsNotMet(t *testing.T) {
	r := made()
	r.judge()
	for _, name := range []string{"pairs, beside Boost", "between processes", "large blocks", "recovery", "given back"} {
		if x := target(t, r, name); x.Why == "" || x.Met() {
			t.Errorf("%s: %+v", name, *x)
		}
	}
	nothing := new(Report)
	nothing.judge()
	for i := range nothing.Targets {
		if nothing.Targets[i].Met() {
			t.Errorf("met by nothing: %+v", nothing.Targets[i])
		}
	}
}

func TestRatioLeavesOutRoundsWithoutRate(t *testing.T) {
	a, b := &Row{Rates: []float64{10, 20, 30}}, &Row{Rates: []float64{5, 0, 10}}
	if r, ok := Ratio(a, b); !ok || r != (Spread{2.5, 2, 3}) {
		t.Errorf("%+v %v", r, ok)
	}
	if _, ok := Ratio(a, &Row{Rates: []float64{0}}); ok {
		t.Error("a ratio with nothing")
	}
}
