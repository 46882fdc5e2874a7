package bench

// Target is a bound that was set before the allocator was written, beside what was measured.
type Target struct {
	Name     string
	AtLeast  bool // or at most
	Bound    float64
	Unit     string
	Measured Spread
	Why      string // it was not measured, "" if it was
}

// Met reports whether the median keeps within the bound.
func (t *Target) Met() bool {
	return t.Why == "" && (t.AtLeast && t.Measured.Median >= t.Bound || !t.AtLeast && t.Measured.Median <= t.Bound)
}

// ratioTargets are bounds on the quotient of two rates.
var ratioTargets = []struct {
	name                 string
	workload, subject    string
	otherWorkload, other string
	bound                float64
}{
	{"pairs, a Cache beside mimalloc", "pairs/1", SubjectCache, "pairs/1", SubjectMimalloc, 1},
	{"pairs, the Allocator beside mimalloc", "pairs/1", SubjectAllocator, "pairs/1", SubjectMimalloc, 0.6},
	{"between processes, beside mimalloc's threads", "xproc/2", SubjectCache, "xproc/2", SubjectMimalloc, 5},
	{"pairs, beside Boost.Interprocess at a fixed address", "pairs/1", SubjectCache, "pairs/1", SubjectFixed, 10},
	{"pairs in two processes, beside the same", "pairs/2", SubjectCache, "pairs/2", SubjectFixed, 40},
	{"pairs, two processes beside one", "pairs/2", SubjectCache, "pairs/1", SubjectCache, 1.9},
	{"large blocks, beside glibc's mappings", "large/1", SubjectCache, "large/1", SubjectMmap, 1},
}

// judge fills in the targets.
func (r *Report) judge() {
	r.Targets = nil
	for _, x := range ratioTargets {
		t := Target{Name: x.name, AtLeast: true, Bound: x.bound, Unit: "times"}
		a, b := r.row(x.workload, x.subject), r.row(x.otherWorkload, x.other)
		measured := a != nil && b != nil
		if measured {
			t.Measured, measured = Ratio(a, b)
		}
		if !measured {
			t.Why = "not measured: " + x.workload + " or " + x.otherWorkload + " of " + x.subject + " and " + x.other
		}
		r.Targets = append(r.Targets, t)
	}
	r.judgeLatency()
	r.judgeMemory()
	r.judgeRecovery()
}

// p999 is the index of that quantile.
const p999 = len(quantiles) - 1

func (r *Report) judgeLatency() {
	ours, theirs := r.row("pairs/2", SubjectCache), r.row("pairs/2", SubjectFixed)
	a := Target{Name: "p99.9 of alloc, two processes", Bound: 300, Unit: "ns"}
	f := Target{Name: "p99.9 of free, two processes", Bound: 300, Unit: "ns"}
	b := Target{Name: "the same of alloc, Boost's beside ours", AtLeast: true, Bound: 50, Unit: "times"}
	if ours == nil || len(ours.Alloc) == 0 {
		a.Why, f.Why, b.Why = "not measured", "not measured", "not measured"
		r.Targets = append(r.Targets, a, f, b)
		return
	}
	a.Measured, f.Measured = Percentile(ours.Alloc, p999), Percentile(ours.Free, p999)
	if theirs == nil || len(theirs.Alloc) == 0 {
		b.Why = "not measured"
	} else {
		b.Measured = quotients(theirs.Alloc, ours.Alloc)
	}
	r.Targets = append(r.Targets, a, f, b)
}

func quotients(a, b []Latency) Spread {
	q := make([]float64, min(len(a), len(b)))
	for i := range q {
		q[i] = a[i].Values[p999] / max(b[i].Values[p999], 0.1)
	}
	return spread(q)
}

func (r *Report) judgeMemory() {
	targets := []Target{
		{Name: "tables, of the bytes in use as blocks of 64 bytes", Bound: 5, Unit: "%"},
		{Name: "tables, of the bytes in use as blocks of 1 KiB", Bound: 1, Unit: "%"},
		{Name: "committed beside live bytes, mixed sizes", Bound: 1.15, Unit: "times"},
		{Name: "given back to the system after a drain", AtLeast: true, Bound: 95, Unit: "%"},
	}
	if m := r.Memory; m == nil {
		for i := range targets {
			targets[i].Why = "not measured"
		}
	} else {
		targets[0].Measured = exactly(100 * m.Small.Overhead())
		targets[1].Measured = exactly(100 * m.Medium.Overhead())
		targets[2].Measured = exactly(m.Mixed[0].PerRounded())
		targets[3].Measured = exactly(100 * m.Drain.Returned())
	}
	r.Targets = append(r.Targets, targets...)
}

func (r *Report) judgeRecovery() {
	targets := []Target{
		{Name: "recovery, for each block that the dead peer's slabs have", Bound: 5, Unit: "ns"},
		{Name: "a death noticed", Bound: 10, Unit: "ms"},
	}
	if r.Recovery == nil {
		targets[0].Why, targets[1].Why = "not measured", "not measured"
	} else {
		targets[0].Measured, targets[1].Measured = r.Recovery.PerBlock, r.Recovery.Noticed
	}
	r.Targets = append(r.Targets, targets...)
}

func exactly(v float64) Spread { return Spread{v, v, v} }
