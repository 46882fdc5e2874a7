package main

import (
	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/live"
)

// mapJSON is what "map --json" prints.
type mapJSON struct {
	Name          string      `json:"name"`
	Base          string      `json:"base"`
	Size          uint64      `json:"size"`
	Fragmentation float64     `json:"fragmentation"` // share of the free bytes between used ones that the largest gap lacks
	Words         []string    `json:"words"`         // the same for people
	Spaces        live.Spaces `json:"spaces"`
	Spans         []spanJSON  `json:"spans"` // the whole region, in order and without gaps
}

// spanJSON is a run of granules that are one thing.
type spanJSON struct {
	Kind      string `json:"kind"` // tables, free, claimed, slab, large, arena, chunk or damaged
	Offset    uint64 `json:"offset"`
	Bytes     uint64 `json:"bytes"`
	Committed uint64 `json:"committed"`  // of that, with storage
	BlockSize uint64 `json:"block_size"` // of a slab, else 0
	Blocks    uint64 `json:"blocks"`
	Used      uint64 `json:"used"` // blocks
	UsedBytes uint64 `json:"used_bytes"`
	Owner     string `json:"owner"` // peer, "" for nobody
	Private   bool   `json:"private"`
	Sampled   bool   `json:"sampled"`
}

func newSpanJSON(s *alloc.Span) spanJSON {
	j := spanJSON{
		Kind: string(s.Kind), Offset: s.Offset, Bytes: s.Bytes, Committed: s.Committed, BlockSize: s.BlockSize,
		Blocks: s.Blocks, Used: s.Used, UsedBytes: s.UsedBytes, Private: s.Private, Sampled: s.Sampled,
	}
	if s.Owner != 0 {
		j.Owner = s.Owner.String()
	}
	return j
}
