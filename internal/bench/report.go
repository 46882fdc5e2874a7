package bench

import "time"

// Report is what a session measured.
type Report struct {
	Machine   Machine
	Rounds    int
	Time      time.Duration // of one measurement
	Peers     []Peer
	Workloads []Measured
	Memory    *Memory   // nil when it was left out
	Recovery  *Recovery // nil when it was left out
	Targets   []Target
}

// Measured is a workload and what each subject did.
type Measured struct {
	Workload
	Rows []*Row
}

// Row is a subject's part of a workload.
type Row struct {
	Subject string
	Why     string // it did not take part, "" if it did

	Rates       []float64 // operations a second, of each round
	Lost        float64   // share of the time in which its workers were ready and others had their processors
	Ops         uint64
	Alloc, Free []Latency
	checksums   []uint64
	lost, all   float64
}

// Latency is the time that calls took in one round.
type Latency struct {
	Calls  uint64
	Values [len(quantiles)]float64 // nanoseconds, of the quantiles 0.5, 0.99 and 0.999
}

// Rate returns the operations a second.
func (r *Row) Rate() Spread { return spread(r.Rates) }

// Percentile returns the i-th of the quantiles.
func Percentile(rounds []Latency, i int) Spread {
	values := make([]float64, len(rounds))
	for k := range rounds {
		values[k] = rounds[k].Values[i]
	}
	return spread(values)
}

// TookPart reports whether there is anything in the row.
func (r *Row) TookPart() bool { return r.Why == "" && len(r.Rates) > 0 }

// addRates adds a round of throughput.
func (r *Row) addRates(o *Outcome) {
	r.Rates = append(r.Rates, o.Rate)
	r.Ops += o.Ops
	r.checksums = o.sizes
	r.lost, r.all = r.lost+o.Lost, r.all+o.Seconds
	if r.all > 0 {
		r.Lost = r.lost / r.all
	}
}

// addLatencies adds a round of latencies.
func (r *Row) addLatencies(o *Outcome) {
	for _, x := range []struct {
		to   *[]Latency
		from *Histogram
	}{{&r.Alloc, &o.alloc}, {&r.Free, &o.free}} {
		if x.from.Count() == 0 {
			continue
		}
		l := Latency{Calls: x.from.Count()}
		for i, q := range quantiles {
			l.Values[i] = o.latency(x.from, q)
		}
		*x.to = append(*x.to, l)
	}
}

// row finds a subject's row of a workload, nil if it did not take part.
func (r *Report) row(workload, subject string) *Row {
	for i := range r.Workloads {
		if r.Workloads[i].Name == workload {
			return r.Workloads[i].Row(subject)
		}
	}
	return nil
}

// Row finds a subject's row, nil if it did not take part.
func (m *Measured) Row(subject string) *Row {
	for _, row := range m.Rows {
		if row.Subject == subject && row.TookPart() {
			return row
		}
	}
	return nil
}

// Ratio compares two rows round by round, as both were measured within the same seconds. It reports false
// when there is no round in which both did anything.
func Ratio(a, b *Row) (Spread, bool) {
	var ratios []float64
	for i := range min(len(a.Rates), len(b.Rates)) {
		if b.Rates[i] > 0 {
			ratios = append(ratios, a.Rates[i]/b.Rates[i])
		}
	}
	if len(ratios) == 0 {
		return Spread{}, false
	}
	return spread(ratios), true
}
