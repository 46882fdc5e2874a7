// Package demo is the first thing a newcomer runs: several processes build one
// inverted index out of raw pointers in one shared heap, one of them is killed
// with SIGKILL in the middle, and every block is accounted for at the end.
//
//	root "index" ──▶ Index ──▶ Files    [todo | claimed by a peer | done, path]
//	                   │  └──▶ Hands    [owner, settler, posting and word in hand]
//	                   └─────▶ Buckets  ──▶ Word ──▶ Word ──▶ nil
//	                                         │ text
//	                                         └─▶ Posting ──▶ Posting ──▶ nil
//
// Every arrow is a plain Go pointer and means the same in every process.
// Words and postings are only ever pushed in front of a list, with one
// compare-and-swap, and never taken out, so that no list has an ABA problem
// and a reader needs no lock.
//
// # Exactly once, in spite of SIGKILL
//
// A block that a worker has allocated and not yet linked is in its [Hand],
// which lives in the heap too. Whoever takes over from a dead worker
//
//  1. lets the allocator finish or undo what the dead worker's cache was doing
//     (alloc.Recover), after which a field of the hand is nil or owns a block;
//  2. settles the hand: a block that is in its list stays, one that is not is
//     freed; and only then
//  3. takes the files that the dead worker had claimed, and adds those
//     postings that are not there yet.
//
// Whether a worker is dead is the kernel's answer ([heap.Heap.Alive]), never a
// time-out: a stopped worker keeps its files for as long as it is stopped.
//
// The invariant behind the order: a hand that is not empty belongs to a peer
// that has claimed a file which is not done. To look after the claims of the
// dead is therefore to look after everything.
//
// One gap is the allocator's: a settler that is killed itself, between two
// instructions of alloc.FreeFrom on a block of another cache's slab, leaks that
// block (see the documentation of package alloc).
//
// # What it is not
//
// A search engine. The index is never updated, and words are runs of ASCII
// letters, digits and underscores.
package demo
