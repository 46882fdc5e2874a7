package demo

// Report is the outcome of a demo. The JSON names are stable.
type Report struct {
	OK             bool       `json:"ok"`
	Folder         string     `json:"folder"`
	Heap           string     `json:"heap"`
	Base           string     `json:"base"` // as the parent sees it
	Size           uint64     `json:"size"`
	SameBase       bool       `json:"same_base"` // in all processes, and the same address of the index
	Processes      []Process  `json:"processes"`
	Files          int        `json:"files"`
	Bytes          uint64     `json:"bytes"` // of the files
	Seconds        float64    `json:"seconds"`
	FilesPerSecond float64    `json:"files_per_second"`
	Committed      uint64     `json:"committed"`
	LiveBytes      uint64     `json:"live_bytes"`
	Killed         *Killed    `json:"killed,omitempty"`
	Walk           Walk       `json:"walk"`
	Private        Totals     `json:"private"`
	SameIndex      bool       `json:"same_index"` // words, postings and digest: the reader's and the private ones
	LiveBlocks     uint64     `json:"live_blocks"`
	SameBlocks     bool       `json:"same_blocks"` // live in the allocator and reached by the reader
	Clean          bool       `json:"clean"`
	Problems       []string   `json:"problems"`
	PhaseSeconds   PhaseTimes `json:"phase_seconds"`
}

// Process is one of the processes that took part.
type Process struct {
	Role string `json:"role"` // parent, worker or reader
	Hello
	Killed bool   `json:"killed"`
	Tally  *Tally `json:"tally,omitempty"` // of a worker that was not killed
}

// Killed is the account of the worker that was killed.
type Killed struct {
	PID        int       `json:"pid"`
	Peer       string    `json:"peer"`
	AfterFiles int       `json:"after_files"` // done by all workers
	Files      int       `json:"files"`       // done by this one before
	TakenOver  int       `json:"taken_over"`  // files that others finished for it
	Found      uint64    `json:"found"`       // postings of those that it had linked
	Kept       int       `json:"kept"`        // blocks in its hand that were linked
	Freed      int       `json:"freed"`       // blocks in its hand that were not
	Recovered  Recovered `json:"recovered"`   // from its cache
}

// PhaseTimes are the wall-clock seconds of the parts of a demo.
type PhaseTimes struct {
	List    float64 `json:"list"`
	Create  float64 `json:"create"`
	Start   float64 `json:"start"`
	Build   float64 `json:"build"`
	Read    float64 `json:"read"`
	Private float64 `json:"private"`
	Check   float64 `json:"check"`
}

// judge sets the verdicts.
func (r *Report) judge() {
	r.SameBase = true
	for _, p := range r.Processes {
		r.SameBase = r.SameBase && p.Base == r.Base && p.Index == r.Processes[0].Index
	}
	r.SameIndex = r.Walk.Totals == r.Private
	r.SameBlocks = r.LiveBlocks == r.Walk.Blocks
	r.Clean = len(r.Problems) == 0
	r.OK = r.SameBase && r.SameIndex && r.SameBlocks && r.Clean
}
