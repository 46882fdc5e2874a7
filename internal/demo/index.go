package demo

import (
	"fmt"
	"math/bits"
	"sync/atomic"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

// rootName is the name under which the heap keeps the address of the Index.
const rootName = "index"

// Values of File.Claim and Hand.Settler. Everything between them is the
// heap.PeerID of the process that has the record.
const (
	nobody   = 0
	finished = ^uint64(0)
)

// Index is the root of the shared structure. The parent writes all of it
// before it stores the root, and from then on only Cursor changes.
type Index struct {
	Dir     alloc.String                      // the folder that the paths are relative to
	Files   alloc.Slice[File]                 // in the order of their paths
	Buckets alloc.Slice[atomic.Pointer[Word]] // a power of two
	Hands   alloc.Slice[Hand]                 // one for each worker
	_       [128]byte                         // keeps readers of the above off the workers' hot word
	Cursor  atomic.Uint64                     // the next file that nobody has looked at; added to by every worker
	_       [120]byte
}

// File is one file of the corpus.
type File struct {
	// Claim goes nobody -> peer -> finished, and from a dead peer to another
	// one. Each step is one compare-and-swap, the last a store by the
	// claimant; it publishes the file's postings to the parent's Load.
	Claim atomic.Uint64
	Path  alloc.String // relative to Index.Dir, written before the root
}

// Word is a distinct word. Next, Hash and Text are written before the word is
// linked, and never again.
type Word struct {
	Next     *Word
	Hash     uint64
	Text     alloc.String
	Postings atomic.Pointer[Posting] // pushed to by every worker
}

// Posting says that Word occurs Count times in the file number File. It is
// written before it is linked, and never again.
type Posting struct {
	Next  *Posting
	Word  *Word
	File  uint32
	Count uint32
}

// Hand owns what a worker has allocated and not yet linked: a word or a
// posting, one at a time. Its fields are written by the Owner alone while it
// lives, and by the Settler alone after that. Plain fields do: a settler looks
// at them only after the kernel said that the writer is gone.
type Hand struct {
	Owner   atomic.Uint64 // nobody, then for ever the peer that took the hand
	Settler atomic.Uint64 // nobody -> peer -> finished, and from a dead peer to another one
	Posting *Posting
	Word    *Word
	_       [96]byte // hands of different workers lie 128 bytes apart
}

// view is one process's way to an Index: the slices, taken once.
type view struct {
	index   *Index
	dir     string
	files   []File
	buckets []atomic.Pointer[Word]
	hands   []Hand
	limit   uint64 // no list is longer: the number of the smallest blocks in the heap
}

// create builds an empty index for paths and publishes it as a root. It is
// the business of one process, before any other has a reason to look.
func create(a *alloc.Allocator, c *corpus, hands int) (*view, error) {
	x, err := alloc.New[Index](a)
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	if err := x.makeTables(a, c, hands); err != nil {
		return nil, fmt.Errorf("index of %d files: %w", len(c.paths), err)
	}
	files := x.Files.Slice()
	for i, path := range c.paths {
		if files[i].Path, err = alloc.MakeString(a, path); err != nil {
			return nil, fmt.Errorf("index of %q: %w", path, err)
		}
	}
	if err := alloc.StoreRoot(a, rootName, x); err != nil {
		return nil, fmt.Errorf("publish the index: %w", err)
	}
	return newView(a.Heap(), x), nil
}

// makeTables allocates what the Index refers to, empty.
func (x *Index) makeTables(s alloc.Source, c *corpus, hands int) (err error) {
	if x.Dir, err = alloc.MakeString(s, c.dir); err != nil {
		return err
	}
	if x.Files, err = alloc.MakeSlice[File](s, len(c.paths), len(c.paths)); err != nil {
		return err
	}
	if x.Hands, err = alloc.MakeSlice[Hand](s, hands, hands); err != nil {
		return err
	}
	n := bucketsFor(c.bytes)
	x.Buckets, err = alloc.MakeSlice[atomic.Pointer[Word]](s, n, n)
	return err
}

// bucketsFor returns a power of two: about one bucket for each distinct word
// of bytes of source text, between 1024 and 4 Mi.
func bucketsFor(bytes uint64) int {
	return 1 << min(max(bits.Len64(bytes/512), 10), 22)
}

// open finds the index in a heap that another process has filled.
func open(a *alloc.Allocator) (*view, error) {
	x, err := alloc.LoadRoot[Index](a, rootName)
	if err != nil {
		return nil, fmt.Errorf("find the index: %w", err)
	}
	return newView(a.Heap(), x), nil
}

func newView(h *heap.Heap, x *Index) *view {
	return &view{
		index:   x,
		dir:     x.Dir.String(),
		files:   x.Files.Slice(),
		buckets: x.Buckets.Slice(),
		hands:   x.Hands.Slice(),
		limit:   h.Size() / 16,
	}
}

// bucket returns the list that words with this hash are in.
func (v *view) bucket(hash uint64) *atomic.Pointer[Word] {
	return &v.buckets[(hash^hash>>32)&uint64(len(v.buckets)-1)]
}

// find looks for a word in the list that starts at head, up to but not
// including stop. It returns nil when the word is not there.
func (v *view) find(head, stop *Word, hash uint64, text []byte) (*Word, error) {
	steps := uint64(0)
	for w := head; w != stop && w != nil; w = w.Next {
		if w.Hash == hash && w.Text.String() == string(text) {
			return w, nil
		}
		if steps++; steps > v.limit {
			return nil, cycle("words", steps)
		}
	}
	return nil, nil
}

// holds reports whether w itself, not only its text, is in its list.
func (v *view) holds(w *Word) (bool, error) {
	steps := uint64(0)
	for at := v.bucket(w.Hash).Load(); at != nil; at = at.Next {
		if at == w {
			return true, nil
		}
		if steps++; steps > v.limit {
			return false, cycle("words", steps)
		}
	}
	return false, nil
}

// posting returns the first posting of w that match accepts, or nil.
func (v *view) posting(w *Word, match func(*Posting) bool) (*Posting, error) {
	steps := 0
	for p := w.Postings.Load(); p != nil; p = p.Next {
		if match(p) {
			return p, nil
		}
		if steps++; steps > len(v.files) {
			return nil, cycle("postings", uint64(steps))
		}
	}
	return nil, nil
}

// done counts the files that are in the index completely.
func (v *view) done() int {
	n := 0
	for i := range v.files {
		if v.files[i].Claim.Load() == finished {
			n++
		}
	}
	return n
}

// cycle is the error for a list that is longer than it can be.
func cycle(what string, steps uint64) error {
	return fmt.Errorf("list of %s does not end after %d steps: %w", what, steps, heap.ErrCorrupt)
}
