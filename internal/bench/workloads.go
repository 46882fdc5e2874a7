package bench

import "slices"

// Workload is one thing that is measured.
type Workload struct {
	Name    string // what --only matches
	Loop    string
	Sizes   string // name of a table
	Workers int    // processes, or threads of a private allocator
	Unit    string // what an operation is
	About   string
	special string // the only peers that take part, "" for all of them
}

// Loops, by name. loops_cache_unsafe.go and peers/loops.h have one function for each.
const (
	loopPairs     = "pairs"
	loopFill      = "fill"
	loopDrain     = "threadtest"
	loopReplace   = "replace"
	loopNodes     = "nodes"
	loopTouch     = "touch"
	loopUntouched = "untouched"
	loopBatches   = "sh6bench"
	loopScratch   = "scratch"
	loopLarson    = "larson"
	loopPipe      = "xproc"
	loopXmalloc   = "xmalloc"
	loopMstress   = "mstress"
	loopEmpty     = "empty"
	loopHandover  = "handover"
	loopSteady    = "steady-" // and how many blocks; of peers alone, see yard.steady
)

// Words for Workload.special.
const (
	onlyLoop  = "loop"  // the loop itself, without an allocator
	onlyLarge = "large" // glibc with a fixed threshold of mmap too
)

const (
	unitPair = "pair of free and alloc"
	unitItem = "block handed over and freed"
)

// Workloads are all of them, in the order of the report.
func Workloads() []Workload {
	return slices.Concat(pairWorkloads, sharedWorkloads, classics)
}

var pairWorkloads = []Workload{
	{Name: "empty/1", Loop: loopEmpty, Sizes: sizesPairs, Workers: 1, Unit: "pair of two calls that do nothing", special: onlyLoop,
		About: "the loop of pairs with functions that do nothing: what the loop costs in Go and in C++"},
	{Name: "pairs/1", Loop: loopPairs, Sizes: sizesPairs, Workers: 1, Unit: unitPair,
		About: "512 live blocks of 16..1024 bytes; each step frees one and allocates one"},
	{Name: "pairs/2", Loop: loopPairs, Sizes: sizesPairs, Workers: 2, Unit: unitPair, About: "the same, twice at once"},
	{Name: "small/1", Loop: loopPairs, Sizes: sizesSmall, Workers: 1, Unit: unitPair,
		About: "512 live blocks of 64 bytes"},
	{Name: "small/2", Loop: loopPairs, Sizes: sizesSmall, Workers: 2, Unit: unitPair, About: "the same, twice at once"},
	{Name: "node/1", Loop: loopNodes, Sizes: sizesSmall, Workers: 1, Unit: "node made and freed",
		About: "a list of 1000 zeroed nodes of 48 bytes, alloc.New[T] here, built and taken apart"},
	{Name: "bursty/1", Loop: loopFill, Sizes: sizesPairs, Workers: 1, Unit: unitPair,
		About: "10,000 blocks of 16..1024 bytes are filled and drained, in order and in reverse by turns"},
	{Name: "mixed/1", Loop: loopReplace, Sizes: sizesMixed, Workers: 1, Unit: unitPair,
		About: "2048 live blocks of 16 bytes to 1 MiB, replaced at random"},
	{Name: "mixed/2", Loop: loopReplace, Sizes: sizesMixed, Workers: 2, Unit: unitPair, About: "the same, twice at once"},
	{Name: "large/1", Loop: loopTouch, Sizes: sizesLarge, Workers: 1, Unit: unitPair, special: onlyLarge,
		About: "four live blocks of 64 KiB to 64 MiB, of each a byte in every page written"},
	{Name: "large-untouched/1", Loop: loopUntouched, Sizes: sizesLarge, Workers: 1, Unit: unitPair, special: onlyLarge,
		About: "the same, nothing written"},
}

var sharedWorkloads = []Workload{
	{Name: "xproc/2", Loop: loopPipe, Sizes: sizesPairs, Workers: 2, Unit: unitItem,
		About: "one allocates, the other frees; a ring of 4096 words between them, each published by a release store"},
	{Name: "handover/2", Loop: loopHandover, Sizes: sizesPairs, Workers: 2, Unit: "block handed over", special: onlyLoop,
		About: "the loop of xproc without alloc and free: 512 blocks go round, of each the first word is written"},
	{Name: "xmalloc/2", Loop: loopXmalloc, Sizes: sizesPairs, Workers: 2, Unit: unitItem,
		About: "each allocates batches of 120 for the other and frees those of the other (after Lever and Boreham)"},
	{Name: "larson/2", Loop: loopLarson, Sizes: sizesPairs, Workers: 2, Unit: unitPair,
		About: "1000 blocks are replaced at random 1000 times, then all of them handed on (after Larson and Krishnan)"},
	{Name: "mstress/2", Loop: loopMstress, Sizes: sizesMstress, Workers: 2, Unit: unitPair,
		About: "1000 live blocks, mostly small, and every eighth exchanged with the other through 1024 shared slots (after mimalloc's)"},
}

var classics = []Workload{
	{Name: "sh6bench/1", Loop: loopBatches, Sizes: sizesGrowing, Workers: 1, Unit: unitPair,
		About: "batches of 64 of one size: half freed at once, last first, the rest seven batches later (after MicroQuill's)"},
	{Name: "sh6bench/2", Loop: loopBatches, Sizes: sizesGrowing, Workers: 2, Unit: unitPair, About: "the same, twice at once"},
	{Name: "threadtest/1", Loop: loopDrain, Sizes: sizesSmall, Workers: 1, Unit: unitPair,
		About: "10,000 blocks of 64 bytes allocated, then freed in the same order (after Hoard's)"},
	{Name: "threadtest/2", Loop: loopDrain, Sizes: sizesSmall, Workers: 2, Unit: unitPair, About: "the same, twice at once"},
	{Name: "cache-scratch/2", Loop: loopScratch, Sizes: sizesTiny, Workers: 2, Unit: "block of 16 bytes, written 100 times",
		About: "each frees a neighbour of the other's first block and then allocates, writes and frees: false sharing shows (after Hoard's)"},
}
