package main

import "time"

// benchAllJSON is what "bench all --json" prints, and writes beside its report.
type benchAllJSON struct {
	Measured time.Time        `json:"measured"`
	Machine  benchMachineJSON `json:"machine"`
	Alloc    *benchJSON       `json:"alloc"` // null where it was not measured
	Queue    *queueReportJSON `json:"queue"` // null where it was not measured
}
