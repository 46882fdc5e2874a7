package live

import "time"

// Snapshot is a heap at one moment. It is what "top --json" and the page of "serve" get; its names are stable.
type Snapshot struct {
	Name      string    `json:"name"`
	Path      string    `json:"path"`
	Base      string    `json:"base"` // hexadecimal
	Time      time.Time `json:"time"`
	Seconds   float64   `json:"seconds"` // since the look before, over which rates are taken; 0 when this is the first
	Size      uint64    `json:"size"`    // bytes, like all sizes
	Committed uint64    `json:"committed"`
	Limit     uint64    `json:"limit"`      // 0: none
	Growth    float64   `json:"growth"`     // bytes of storage a second, less than 0 when it shrinks
	Live      uint64    `json:"live"`       // blocks in use
	LiveBytes uint64    `json:"live_bytes"` // theirs, as rounded up
	Allocs    float64   `json:"alloc_rate"` // blocks a second, of all peers
	Frees     float64   `json:"free_rate"`  // likewise
	Problem   string    `json:"problem"`    // what could not be counted, "" for nothing
	Peers     []Peer    `json:"peers"`      // dead ones too until they are recovered
	Classes   []Class   `json:"classes"`    // those in use
	Queues    []Queue   `json:"queues"`     // those that roots lead to
	Spaces    Spaces    `json:"spaces"`     // what the region is used for
	Cells     []Cell    `json:"cells"`      // the part that is or was in use, in pieces of equal length
	CellBytes uint64    `json:"cell_bytes"` // their length
}

// Peer is a process that is attached, or died and was not recovered.
type Peer struct {
	ID        string    `json:"id"`
	PID       int       `json:"pid"`
	UID       int       `json:"uid"`
	Program   string    `json:"program"`
	Attached  time.Time `json:"attached"`
	Alive     bool      `json:"alive"`
	Held      uint64    `json:"held"`  // bytes of its slabs, large blocks, arenas and claimed spans
	Quota     uint64    `json:"quota"` // bytes, 0: none
	Blocks    uint64    `json:"blocks"`
	Allocs    uint64    `json:"allocs"`
	Frees     uint64    `json:"frees"`
	AllocRate float64   `json:"alloc_rate"` // a second
	FreeRate  float64   `json:"free_rate"`
}

// Class is a size class that has slabs.
type Class struct {
	Size  uint64  `json:"size"`
	Slabs uint64  `json:"slabs"`
	Live  uint64  `json:"live"`
	Free  uint64  `json:"free"`
	Rate  float64 `json:"rate"` // blocks a second that it grows by
}

// Queue is a queue, a broadcast ring or a mailbox.
type Queue struct {
	Root      string   `json:"root"`
	Kind      string   `json:"kind"`
	Cap       int      `json:"cap"`
	Depth     int      `json:"depth"`
	Closed    bool     `json:"closed"`
	Dropped   uint64   `json:"dropped"`
	Producers []string `json:"producers"` // peers
	Consumers []string `json:"consumers"`
	PushWaits bool     `json:"push_waits"` // a producer may be asleep
	PopWaits  bool     `json:"pop_waits"`  // a consumer may be asleep
	PushRate  float64  `json:"push_rate"`  // elements a second
	PopRate   float64  `json:"pop_rate"`
	Problem   string   `json:"problem"` // why nothing can be said, "" otherwise
}

// Spaces says what the granules are used for, in bytes.
//
//	tables + slabs + large + arenas + claimed + free + damaged == size of the region
type Spaces struct {
	Tables      uint64 `json:"tables"`
	Slabs       uint64 `json:"slabs"`
	SlabsUsed   uint64 `json:"slabs_used"` // of that in blocks that are in use
	Large       uint64 `json:"large"`
	Arenas      uint64 `json:"arenas"`
	ArenasUsed  uint64 `json:"arenas_used"`
	Claimed     uint64 `json:"claimed"`
	Damaged     uint64 `json:"damaged"`
	Free        uint64 `json:"free"`
	FreeKept    uint64 `json:"free_kept"`    // of that with storage
	FreeBetween uint64 `json:"free_between"` // of that in front of the last granule in use
	FreeRuns    uint64 `json:"free_runs"`
	LargestFree uint64 `json:"largest_free"`
	LargestGap  uint64 `json:"largest_gap"` // the largest free run in front of the last granule in use
	Used        uint64 `json:"used"`        // from the base up to there
}

// Cell is a piece of the region of some granules.
type Cell struct {
	Kind string  `json:"kind"` // what most of it is
	Fill float64 `json:"fill"` // share of its bytes that are in use, from 0 to 1
}
