// Package alloc allocates blocks inside an open heap: for many processes at once, each of which may be
// killed between any two instructions.
//
//	heap   = tables + granules of 64 KiB
//	span   = run of granules: a slab, one large block, or free
//	slab   = span cut into blocks of one size class, owned by one cache or by nobody
//	arena  = spans whose blocks are freed together, owned by one cache or, published, by nobody
//	cache  = what one goroutine allocates from; its record lives in the heap
//
// # What is true
//
// A granule's state word says what it is and whose; a slab's bitmaps say which of its blocks are
// free. Everything else is a hint that may be stale: the busy bitmap, the adoption hints, the span
// hint. No list runs through freed blocks, so a use after free cannot damage the allocator, and a
// double free is a bit that is set already.
//
// Of each slab there are two bitmaps. Local is written by the owning cache alone, with plain stores:
// Alloc clears the first set bit, Free by the owner sets it again. Any other cache frees by an atomic
// OR into Remote. When the owner runs out of local blocks it collects: local |= r, then
// remote &^= r. Killed in between, the blocks are in both, and collecting again does no harm,
// because nothing is allocated from r before both are done. Always:
//
//	blocks of the slab == free (local) + freed elsewhere (remote &^ local) + in use
//
// # Life of a granule
//
//	free --CAS--> claimed by a cache --> slab of the cache <--CAS--> slab of nobody
//	  ^              |        ^    |                |
//	  |              v        |    +--> large -CAS--+--> claimed by the freeing cache
//	  |              |        |    +--> arena and its chunks, the same
//	  +--- tails, then head --+
//
// A run is claimed head first; its tails say how far their head is, so the owner of the head owns
// them. It is given back tails first. A dead cache's claimed run is therefore always whole enough to
// be given back by looking at its head.
//
// # Crash behaviour
//
// Recover takes over the caches of dead peers: it settles the one exact operation a cache may have under
// way, gives claimed runs back, and leaves slabs to whoever adopts them. It may be killed too; the
// next one begins again. A block that was allocated survives the death of its allocator, because a
// raw pointer to it may be stored anywhere. That leaves a gap of a few instructions between taking
// a block and storing its address, and between taking the address away and freeing: a process killed
// there leaks that one block. AllocInto and FreeFrom close the gap: the block is reachable from the
// given word or free, whatever happens, as long as the word is the caller's own until the operation,
// or the recovery after it, is over. One case remains: FreeFrom of a block in another cache's slab,
// killed between clearing the word and the OR, leaks the block, because nobody can tell whether the
// OR happened and the block is in use again.
//
// A private block and an arena die with the cache that they are from unless they were published: recovery frees them.
// Each has one word whose change publishes it, so there is nothing in between.
//
// Collect frees what leaked: it marks what can be reached from the named roots, in a heap that this process has to
// itself, and frees the rest. Killed half way it has freed some.
//
// A private block lies in a slab of private ones, whose published bitmap says which of its blocks live on, or is a large
// block whose state names a cache. A large block grows and shrinks in place by moving the border of its run, under
// an intent in the cache's record; what Realloc moves is copied before the old block is freed.
//
// # What is kept
//
// Each goroutine that allocates with an Allocator has a place with a cache of its own, or shares one of as many as
// there are processors. A cache gives empty slabs back as it passes by, and all of them when somebody met
// ErrNoSpace; freed granules keep their storage up to 1 MiB and 1/32 of what is in use, and some more while
// large blocks come and go.
//
// # Limits and counts
//
// How much of the heap has storage is limited by heap.SetLimit, and what one peer holds by SetQuota. Neither has a
// counter in the heap, as a kill would make it drift: the first counts the committed bitmap, the second the
// states, where a slab names its cache, whose record names its peer, and the descriptor of a large block
// names the peer that allocated it. Usage tells of each peer what it holds, and from the records of its caches
// what it did. Those counters are stored by their owner on the way to its next blocks, so they cost the short
// ways nothing and lag behind them.
//
// # Profile
//
// With SetProfileRate the heap remembers of some blocks which process and line allocated them, and Profile tells
// any process, after the death of that one too. A sample is a block in a slab of its own kind, or a large block;
// its site lies beside the bitmaps, in a table that the allocating process writes as text, because only that
// can read its own symbols. The bins hide free blocks from the short way of Alloc so that it ends exactly at the
// next sample. A process killed anywhere in that leaves a free block, or an entry of the table that others take.
//
// # Looking
//
// Stats, Usage, Spans, Locate and Profile count by walking the states and bitmaps. An Inspector does so for a heap that is
// only looked at: nothing is attached, recovered or written, so that what the dead have left shows.
//
// # Misuse
//
// A double free is noticed by every cache, most of the time. A careful cache (CacheOptions) also notices writes
// to freed blocks and behind the end of blocks. Freed blocks wait in the Remote bitmap, where a kill finds them
// freed, until the cache has used up all others. With the build tag invariants all caches are careful, and the code
// compares the equations in its comments with what is: where they differ it panics.
//
// # Trust
//
// State words, bitmaps and records are checked on use: nonsense is ErrCorrupt, never a block outside
// its slab. What is not checked is the inside of blocks: a raw pointer that a peer stored is followed
// at the reader's risk.
//
// # What it is not
//
// It is no garbage collector that works beside the program: Collect is for a heap at rest. The
// pointers that it hands out are invisible to Go's: a Go pointer stored in the heap keeps nothing alive, which is why
// New refuses types that would need it.
package alloc
