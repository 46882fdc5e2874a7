package main

import (
	"github.com/shmheap/shmheap/internal/bench"
)

// benchJSON is what "bench alloc --json" prints. Its names are stable, and so are those of the types in it.
type benchJSON struct {
	Machine   benchMachineJSON    `json:"machine"`
	Rounds    int                 `json:"rounds"`
	Seconds   float64             `json:"seconds"` // of one measurement
	Peers     []benchPeerJSON     `json:"peers"`
	Workloads []benchWorkloadJSON `json:"workloads"`
	Memory    *benchMemoryJSON    `json:"memory"`   // null when it was left out
	Recovery  *benchRecoveryJSON  `json:"recovery"` // null when it was left out
	Targets   []benchTargetJSON   `json:"targets"`
}

type benchMachineJSON struct {
	CPU        string `json:"cpu"`
	Processors int    `json:"processors"`
	Cores      int    `json:"cores"`
	Kernel     string `json:"kernel"`
	System     string `json:"system"`
	PageSize   int    `json:"page_size"`
	Go         string `json:"go"`
	Compiler   string `json:"compiler"` // of the peers, "" without
}

type benchPeerJSON struct {
	Name    string `json:"name"`
	Version string `json:"version"` // "" when it did not run
	Library string `json:"library"`
	Missing string `json:"missing"` // why it did not run
}

type benchWorkloadJSON struct {
	Name    string         `json:"name"`
	About   string         `json:"about"`
	Unit    string         `json:"unit"` // of operations
	Workers int            `json:"workers"`
	Rows    []benchRowJSON `json:"rows"`
}

type benchRowJSON struct {
	Subject string            `json:"subject"`
	Why     string            `json:"why"`   // why there is nothing, "" if there is
	Rate    *spreadJSON       `json:"rate"`  // operations a second
	Ratio   *spreadJSON       `json:"ratio"` // the cache's rate beside this one, round by round; null without
	Lost    float64           `json:"lost"`  // share of the time in which others had the workers' processors
	Alloc   *benchLatencyJSON `json:"alloc"` // of one call
	Free    *benchLatencyJSON `json:"free"`
}

type benchLatencyJSON struct {
	Calls uint64     `json:"calls"`
	P50   spreadJSON `json:"p50"` // nanoseconds
	P99   spreadJSON `json:"p99"`
	P999  spreadJSON `json:"p999"`
}

// spreadJSON is what the rounds gave.
type spreadJSON struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// benchMixedJSON is in bytes: means of the steady state.
type benchMixedJSON struct {
	Live      uint64 `json:"live"` // blocks
	Requested uint64 `json:"requested"`
	Peak      uint64 `json:"peak"`    // the most that was requested at once
	Rounded   uint64 `json:"rounded"` // to size classes and granules
	Committed uint64 `json:"committed"`
	InSlabs   uint64 `json:"in_slabs"` // free blocks of slabs
	Tables    uint64 `json:"tables"`
	Kept      uint64 `json:"kept"` // free granules that have storage
}

type benchResidentJSON struct {
	Subject   string `json:"subject"`
	Live      uint64 `json:"live"` // blocks
	Requested uint64 `json:"requested"`
	Peak      uint64 `json:"peak"`
	Resident  uint64 `json:"resident"`
	Why       string `json:"why"` // it was not measured, "" if it was
}

type benchMemoryJSON struct {
	Tables64   benchTablesJSON     `json:"tables_64"`   // with blocks of 64 bytes
	Tables1024 benchTablesJSON     `json:"tables_1024"` // with blocks of 1 KiB
	Mixed      []benchMixedJSON    `json:"mixed"`
	Beside     []benchResidentJSON `json:"beside"` // others in the same
	Drain      struct {
		Empty   uint64 `json:"empty"` // storage of the heap's file
		Full    uint64 `json:"full"`
		Freed   uint64 `json:"freed"`
		Trimmed uint64 `json:"trimmed"`
	} `json:"drain"`
}

type benchTablesJSON struct {
	Live   uint64 `json:"live"`
	Tables uint64 `json:"tables"`
	Fixed  uint64 `json:"fixed"` // of those, what an empty heap has
}

type benchRecoveryJSON struct {
	Blocks   uint64     `json:"blocks"`
	Noticed  spreadJSON `json:"noticed_ms"`
	Recover  spreadJSON `json:"recover_ms"`
	PerBlock spreadJSON `json:"per_block_ns"`
}

type benchTargetJSON struct {
	Name     string      `json:"name"`
	Bound    float64     `json:"bound"`
	AtLeast  bool        `json:"at_least"` // or at most
	Unit     string      `json:"unit"`
	Measured *spreadJSON `json:"measured"` // null when it was not
	Met      bool        `json:"met"`
}

func newBenchJSON(r *bench.Report) *benchJSON {
	j := &benchJSON{
		Machine: benchMachineJSON(r.Machine), Rounds: r.Rounds, Seconds: r.Time.Seconds(),
		Peers: []benchPeerJSON{}, Workloads: []benchWorkloadJSON{}, Targets: []benchTargetJSON{},
	}
	for _, p := range r.Peers {
		j.Peers = append(j.Peers, benchPeerJSON(p))
	}
	for i := range r.Workloads {
		j.Workloads = append(j.Workloads, newBenchWorkloadJSON(&r.Workloads[i]))
	}
	if r.Memory != nil {
		j.Memory = newBenchMemoryJSON(r.Memory)
	}
	if x := r.Recovery; x != nil {
		j.Recovery = &benchRecoveryJSON{x.Blocks, spreadJSON(x.Noticed), spreadJSON(x.Recover), spreadJSON(x.PerBlock)}
	}
	for i := range r.Targets {
		j.Targets = append(j.Targets, newBenchTargetJSON(&r.Targets[i]))
	}
	return j
}

func newBenchWorkloadJSON(m *bench.Measured) benchWorkloadJSON {
	j := benchWorkloadJSON{Name: m.Name, About: m.About, Unit: m.Unit, Workers: m.Workers}
	cache := m.Row(bench.SubjectCache)
	for _, row := range m.Rows {
		x := benchRowJSON{Subject: row.Subject, Why: row.Why, Lost: row.Lost}
		if row.TookPart() {
			x.Rate = newSpreadJSON(row.Rate())
			if cache != nil {
				if r, ok := bench.Ratio(cache, row); ok {
					x.Ratio = newSpreadJSON(r)
				}
			}
			x.Alloc, x.Free = newBenchLatencyJSON(row.Alloc), newBenchLatencyJSON(row.Free)
		}
		j.Rows = append(j.Rows, x)
	}
	return j
}

func newBenchLatencyJSON(rounds []bench.Latency) *benchLatencyJSON {
	if len(rounds) == 0 {
		return nil
	}
	j := &benchLatencyJSON{
		P50:  spreadJSON(bench.Percentile(rounds, 0)),
		P99:  spreadJSON(bench.Percentile(rounds, 1)),
		P999: spreadJSON(bench.Percentile(rounds, 2)),
	}
	for i := range rounds {
		j.Calls += rounds[i].Calls
	}
	return j
}

func newBenchMemoryJSON(m *bench.Memory) *benchMemoryJSON {
	j := &benchMemoryJSON{
		Tables64: benchTablesJSON(m.Small), Tables1024: benchTablesJSON(m.Medium), Mixed: []benchMixedJSON{}, Beside: []benchResidentJSON{},
	}
	for _, x := range m.Mixed {
		j.Mixed = append(j.Mixed, benchMixedJSON(x))
	}
	for _, x := range m.Beside {
		j.Beside = append(j.Beside, benchResidentJSON(x))
	}
	j.Drain.Empty, j.Drain.Full, j.Drain.Freed, j.Drain.Trimmed = m.Drain.Empty, m.Drain.Full, m.Drain.Freed, m.Drain.Trimmed
	return j
}

func newBenchTargetJSON(t *bench.Target) benchTargetJSON {
	j := benchTargetJSON{Name: t.Name, Bound: t.Bound, AtLeast: t.AtLeast, Unit: t.Unit, Met: t.Met()}
	if t.Why == "" {
		j.Measured = newSpreadJSON(t.Measured)
	}
	return j
}

func newSpreadJSON(s bench.Spread) *spreadJSON {
	j := spreadJSON(s)
	return &j
}
