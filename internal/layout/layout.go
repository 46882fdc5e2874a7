package layout

import (
	"structs"

	"github.com/shmheap/shmheap/internal/mem"
)

// Identification and fixed sizes.
const (
	Magic   = 0x50414548_4d4853_1a // "\x1aSHMHEAP" as stored
	Version = 1

	// MagicAside is the magic of a file whose region is not in it: see doc/format.md, "Side file".
	MagicAside = 0x45444953_4d4853_1a // "\x1aSHMSIDE" as stored

	GranuleShift = 16
	GranuleSize  = 1 << GranuleShift // the unit of the region, 64 KiB, on every page size
	PageSize     = 4096              // alignment of the tables; "the page" is always the system's

	SuperblockSize  = 4096
	ChecksummedSize = 512 // bytes of the superblock that never change, checksum included
	RootSize        = 128
	PeerSize        = 128
	CacheSize       = 128
	SlabSize        = 256
	FineSize        = 1536
	SiteSize        = 2048

	ChunkGranules = 512 // granules whose tables are committed together
	HintClasses   = 64  // size classes that the adoption hints have room for
	HintWords     = ChunkGranules / 64
	ChunkHintSize = HintClasses * HintWords * 8

	NameSize     = 64 // longest heap or root name, with its terminating zero
	ProgramSize  = 32
	TypeNameSize = 32
	IDSize       = 16
	BackingSize  = 16
	LocatorSize  = 240
)

// Superblock is the first page of the region. The part up to and including Checksum is written once
// by the creator before Ready and never again; the words behind it change.
type Superblock struct {
	_ structs.HostLayout

	Magic      uint64
	Version    uint32
	Size0      uint32 // size of this structure: SuperblockSize
	Base       uint64 // the address of the region in every process
	Size       uint64 // bytes, a multiple of GranuleSize
	PageSize   uint32 // of the creating system, for people
	Granule    uint32 // GranuleSize
	MaxRoots   uint32
	MaxPeers   uint32
	MaxCaches  uint32
	Classes    uint32 // number of size classes
	ClassesSum uint32 // checksum of the size-class table the creator was built with
	_          uint32
	Created    int64 // Unix time in nanoseconds
	CreatorPID uint32
	CreatorUID uint32
	ID         [IDSize]byte
	Name       [NameSize]byte
	Sections   Sections
	Backing    [BackingSize]byte // what keeps the region, when that is not the file; zero-terminated
	Locator    [LocatorSize]byte // by which the backing finds it; zero-terminated
	_          uint32
	Checksum   uint32 // CRC-32C of the bytes before it

	// Ready is stored last by the creator, with release order; an opener that reads ReadyValue sees
	// everything above. Nobody else writes it.
	Ready mem.Word
	_     [120]byte

	// Frontier is the number of granules whose tables are committed, raised by CompareAndSwap by
	// whoever committed the next chunk, never lowered. Granules beyond it are untouched and free.
	Frontier mem.Word
	_        [120]byte

	// SpanHint is a version (high 32 bits) and a granule (low 32 bits) below which all granules are
	// believed to be busy. Claimers raise it, releasers lower it, both by CompareAndSwap; a stale
	// value costs a longer search.
	SpanHint mem.Word
	_        [120]byte

	// Orphans has one word per size class, non-zero when a slab of that class may have no owner.
	Orphans [HintClasses]mem.Word

	// Limit is how many bytes may have storage, 0 for as many as there are. Stored by whoever sets it,
	// read by whoever commits.
	Limit mem.Word
	_     [120]byte

	// ProfileRate is how many bytes are allocated for each sample of the allocation profile, 0 for none. Stored
	// by whoever sets it, read by caches that look for blocks.
	ProfileRate mem.Word
	_           [120]byte

	// Pressure counts how often somebody found no space. Added to by whoever does; caches that see it change
	// give up what they do not need.
	Pressure mem.Word
	_        [120]byte

	_ [SuperblockSize - ChecksummedSize - 6*128 - HintClasses*8]byte
}

// ReadyValue is what Superblock.Ready holds in a complete heap.
const ReadyValue = 0x1d5e_ad1e_4ea9_0001

// Sections are the offsets of the tables from the base. They follow from Size and the table
// lengths alone: an opener computes them again and refuses a superblock that differs.
type Sections struct {
	_ structs.HostLayout

	Committed uint64
	Roots     uint64
	Peers     uint64
	Caches    uint64
	States    uint64
	Busy      uint64
	Hints     uint64
	Slabs     uint64
	Fine      uint64
	Sites     uint64
	Data      uint64 // first data byte, a multiple of GranuleSize
}

// Root is a named entry point. The low bit of State is RootFree or RootReady, the rest counts changes.
// Entries are written under the roots lock, Offset alone is also replaced without it. Readers take no
// lock: they read State, the fields and State again.
type Root struct {
	_ structs.HostLayout

	State    mem.Word // stored last when an entry is made, first when it is deleted
	Offset   mem.Word // from the base, 0 is nil
	Type     mem.Word // fingerprint of the type
	Name     [NameSize]byte
	TypeName [TypeNameSize]byte
	_        [8]byte
}

// Root states.
const (
	RootFree  = 0
	RootReady = 1
)

// Peer is the slot of one attached process. Whoever holds the file lock of the slot writes it; the
// rest is for people.
type Peer struct {
	_ structs.HostLayout

	State    mem.Word // PeerFree or PeerAttached, and the generation above it
	PID      uint32
	UID      uint32
	Attached int64 // Unix time in nanoseconds
	Program  [ProgramSize]byte

	// Quota is how many bytes the peer may hold, 0 for as many as there are. Stored by the peer, 0 when it
	// attaches.
	Quota mem.Word
	// Counts are the sums over caches of the peer that it has closed. Stored by the peer.
	Counts Counters
}

// A Peer's State is a generation, raised at each attach, in the bits above PeerStateBits.
const (
	PeerStateBits = 8
	PeerFree      = 0
	PeerAttached  = 1
	PeerGenBits   = 32
	PeerSlotBits  = 16
	MaxPeers      = 1 << PeerSlotBits
)

// Cache is the record of one allocation cache: who owns it, and the update it has under way.
type Cache struct {
	_ structs.HostLayout

	// Owner is 0, or a state, a peer slot and that peer's generation. Changed by CompareAndSwap by
	// whoever takes the record, by the peer's exit, and by recovery.
	Owner mem.Word
	// Intent is the offset of the block of an exact operation under way, with its kind in the low
	// bits, and IntentWord the offset of the word that the block comes from or goes to. Written by
	// the owner with release stores, Intent last; read and cleared by recovery. IntentOld is the offset
	// of the block that IntentMove replaces.
	Intent     mem.Word
	IntentWord mem.Word
	IntentOld  mem.Word
	_          [32]byte
	// Counts are for people and for who looks for a peer's rates. Stored by the owner alone, from 0 when it takes
	// the record; nothing depends on them.
	Counts Counters
}

// Counters count what a cache did, or several. They are stored now and then when the cache looks for blocks, so they
// lag: by 1024 blocks of each size class and those of two words of its bitmaps at most.
type Counters struct {
	_ structs.HostLayout

	Allocs    mem.Word // blocks allocated from slabs
	Bytes     mem.Word // of all blocks allocated, large ones included
	Refills   mem.Word // times that a word of a bitmap was used up
	Remote    mem.Word // blocks freed in slabs of other caches
	Collected mem.Word // blocks that others freed in slabs of these
	Balance   mem.Word // blocks in use that came with adopted slabs, less those that went with disowned ones
	Large     mem.Word // large blocks allocated
	LargeFree mem.Word // large blocks freed
}

// A Cache's Owner is state | slot << CacheSlotShift | generation << CacheGenShift.
const (
	CacheFree       = 0
	CacheOwned      = 1
	CacheRecovering = 2 // slot and generation are the recovering peer's

	CacheSlotShift = 8
	CacheGenShift  = 24
	MaxCaches      = 1 << 16 // ids are 16 bits and 0 is nobody
)

// Kinds of an Intent.
const (
	IntentAlloc  = 1 // the block goes to the word
	IntentFree   = 2 // the block comes from the word
	IntentMove   = 3 // the block takes the place of that in IntentOld, which the word leads to
	IntentGrow   = 4 // the large block gets longer; IntentWord has its length in granules now and then
	IntentShrink = 5 // it gets shorter; IntentWord has its length then and now
	IntentMask   = 0xf
)

// Slab is the descriptor of a granule, used when the granule heads a slab. Local is written by
// the owning cache alone, with plain stores; Published and Remote by everyone, with atomic ones. 1 in
// Local is a free block, 1 in Remote is a block freed by someone else that the owner has not collected,
// 1 in Published a block of a private slab that outlives its cache. When the class has more than
// CoarseBlocks blocks the bitmaps are in a Fine instead.
type Slab struct {
	_ structs.HostLayout

	Local     [CoarseWords]mem.Word
	Published [CoarseWords]mem.Word
	_         [64]byte
	Remote    [CoarseWords]mem.Word
	_         [96]byte
}

// Large is the descriptor of a granule, in place of a Slab, when the granule heads a large block. It is
// written before the state says so, by the cache that has claimed the run.
type Large struct {
	_ structs.HostLayout

	Charged mem.Word // the peer that allocated it, generation in the low 32 bits and slot above
	Sample  mem.Word // 0, or SampleLarge and the number of the site that allocated it
	_       [SlabSize - 16]byte
}

// Samples takes the place of the Fine of a granule that heads a slab with FlagSampled. A word belongs to a block in
// use: the number of a site, 0 for another, and above it from bit 32 on the size that was asked for. It is
// stored by the slab's owner before the block is taken, and means nothing while the block is free.
type Samples struct {
	_ structs.HostLayout

	Blocks [SampleBlocks]mem.Word
}

// Of samples.
const (
	SampleBlocks = FineSize / 8 // most blocks of a slab with FlagSampled
	SampleMin    = 384          // smallest size class whose slabs have no more
	SampleLarge  = 1 << 63
)

// Site is a place in a program that allocated sampled blocks, as that program's symbols call it. Its number
// is its index in the table and 1.
type Site struct {
	_ structs.HostLayout

	// State is 0, or SiteClaimed or SiteReady with the slot and the generation of its peer, packed as in a
	// Cache's Owner. Changed by CompareAndSwap to SiteClaimed, by who finds it free, or its peer dead and no
	// block in use that refers to it; and stored as SiteReady when the rest is there.
	State  mem.Word
	Rate   mem.Word // the ProfileRate that its samples were taken at
	Length mem.Word // bytes of Text
	// Text has a line with the program's name, and a line for each frame, innermost first: function, tab,
	// file:line.
	Text [SiteWords]mem.Word
}

// Of sites.
const (
	SiteClaimed = 1
	SiteReady   = 2
	SiteWords   = SiteSize/8 - 3
	maxSites    = 4096
)

// Fine holds the bitmaps of a slab with more than CoarseBlocks blocks.
type Fine struct {
	_ structs.HostLayout

	Local     [FineWords]mem.Word
	Published [FineWords]mem.Word
	Remote    [FineWords]mem.Word
}

// Arena is the descriptor of a granule, in place of a Slab, when the granule heads an arena or a chunk of
// one. Only whoever owns the arena writes it: Head before the state says that it is a chunk, Next and Used
// with release stores.
type Arena struct {
	_ structs.HostLayout

	Head mem.Word // granule of the arena's head, which of the head itself is its own
	Next mem.Word // granule of the next chunk, 0 at the end; the head's is the newest
	Used mem.Word // bytes that are allocated from the chunk
	_    [SlabSize - 24]byte
}

// Lengths of the bitmaps.
const (
	CoarseWords  = 4
	CoarseBlocks = CoarseWords * 64
	FineWords    = 64
	FineBlocks   = FineWords * 64
)
