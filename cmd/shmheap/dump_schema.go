package main

// dumpJSON is what "dump --json" prints of a heap.
type dumpJSON struct {
	Superblock superblockJSON `json:"superblock"`
	Sections   []sectionJSON  `json:"sections"` // in their order
	Peers      []peerJSON     `json:"peers"`
	Roots      []rootJSON     `json:"roots"`
}

// superblockJSON is the first page of a heap; doc/format.md says what the fields are.
type superblockJSON struct {
	Version     uint32 `json:"version"`
	Base        string `json:"base"` // hexadecimal
	Size        uint64 `json:"size"`
	PageSize    uint32 `json:"page_size"`
	Granule     uint32 `json:"granule"`
	MaxRoots    uint32 `json:"max_roots"`
	MaxPeers    uint32 `json:"max_peers"`
	MaxCaches   uint32 `json:"max_caches"`
	Classes     uint32 `json:"classes"`
	CreatorPID  uint32 `json:"creator_pid"`
	CreatorUID  uint32 `json:"creator_uid"`
	Checksum    string `json:"checksum"`  // hexadecimal
	Frontier    uint64 `json:"frontier"`  // granules whose tables are committed
	SpanHint    uint64 `json:"span_hint"` // granule below which all are believed busy
	Limit       uint64 `json:"limit"`
	ProfileRate uint64 `json:"profile_rate"`
	Pressure    uint64 `json:"pressure"` // how often somebody found no space
}

// sectionJSON is a table of the region.
type sectionJSON struct {
	Name      string `json:"name"`
	Offset    uint64 `json:"offset"`
	Bytes     uint64 `json:"bytes"`
	Committed uint64 `json:"committed"` // of that, in granules that have storage
}

// placeJSON is what "dump NAME ADDR --json" prints: what lies at an address.
type placeJSON struct {
	Address string     `json:"address"` // hexadecimal
	Offset  uint64     `json:"offset"`  // of it from the base
	Section string     `json:"section"` // table that it lies in, or data
	Span    spanJSON   `json:"span"`
	Block   *blockJSON `json:"block"` // null where there is none
	Roots   []rootJSON `json:"roots"` // that lead into the block, or the span where there is no block
	Queue   *queueJSON `json:"queue"` // what the root leads to when it is a queue; else null
	Words   []wordJSON `json:"words"` // the memory from the address on; empty where there is no storage
}

// blockJSON is a block of a slab or a large one.
type blockJSON struct {
	Offset uint64 `json:"offset"`
	Size   uint64 `json:"size"`
	Index  uint64 `json:"index"` // in its slab
	State  string `json:"state"` // in use, free, freed elsewhere or private
	Into   uint64 `json:"into"`  // bytes from its begin to the address
	Site   string `json:"site"`  // what allocated it, where the profile knows
}

// queueJSON is a queue, a broadcast ring or a mailbox.
type queueJSON struct {
	Kind     string `json:"kind"`
	Cap      int    `json:"cap"`
	Elements int    `json:"elements"`
	Closed   bool   `json:"closed"`
	Dropped  uint64 `json:"dropped"`
}

// wordJSON is a word of 64 bits.
type wordJSON struct {
	Offset uint64 `json:"offset"`
	Value  string `json:"value"` // hexadecimal
	Leads  string `json:"leads"` // where to, when it is an address in the heap; else ""
}
