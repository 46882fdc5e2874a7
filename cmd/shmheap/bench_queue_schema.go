package main

import "github.com/shmheap/shmheap/internal/queuebench"

// What bench queue --json prints.

type queueReportJSON struct {
	Rounds    int                 `json:"rounds"`
	RealTime  bool                `json:"real_time"`
	Missing   string              `json:"missing,omitempty"`
	Workloads []queueWorkloadJSON `json:"workloads"`
	Targets   []queueTargetJSON   `json:"targets"`
}

type queueWorkloadJSON struct {
	Name     string         `json:"name"`
	About    string         `json:"about"`
	Subjects []queueRowJSON `json:"subjects"`
}

type queueRowJSON struct {
	Name string    `json:"name"`
	Why  string    `json:"why,omitempty"`
	NS   []float64 `json:"nanoseconds"` // for each operation, of each round
}

type queueTargetJSON struct {
	Name    string  `json:"name"`
	AtLeast bool    `json:"at_least"`
	Bound   float64 `json:"bound"`
	Ratio   float64 `json:"ratio"`
	Met     bool    `json:"met"`
	Why     string  `json:"why,omitempty"`
}

func queueReport(r *queuebench.Report) queueReportJSON {
	j := queueReportJSON{Rounds: r.Rounds, RealTime: r.RealTime, Missing: r.Missing}
	for _, m := range r.Workloads {
		w := queueWorkloadJSON{Name: m.Name, About: m.About}
		for _, row := range m.Rows {
			w.Subjects = append(w.Subjects, queueRowJSON{row.Name, row.Why, row.Values})
		}
		j.Workloads = append(j.Workloads, w)
	}
	for i := range r.Targets {
		t := &r.Targets[i]
		j.Targets = append(j.Targets, queueTargetJSON{t.Name, t.AtLeast, t.Bound, t.Ratio, t.Met(), t.Why})
	}
	return j
}
