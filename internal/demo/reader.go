package demo

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

// Walk is what the reader found by following the pointers of an index.
type Walk struct {
	Totals
	Strings uint64  `json:"strings"` // the texts of words, the paths and the folder
	Slices  uint64  `json:"slices"`  // of files, hands and buckets
	Held    uint64  `json:"held"`    // blocks in hands; none when all workers are done
	Blocks  uint64  `json:"blocks"`  // all blocks reached: 1 Index + words + postings + strings + slices + held
	Queries []Query `json:"queries"`
}

// Query is the answer to one query of a word.
type Query struct {
	Word  string `json:"word"`
	Files int    `json:"files"`
	Top   []Hit  `json:"top"`
}

// Hit is one file of an answer.
type Hit struct {
	Path  string `json:"path"`
	Count uint32 `json:"count"`
}

const (
	queries  = 5 // words that the reader asks for
	topFiles = 3 // files that it names for each
	longish  = 7 // letters of a word that says something
)

// wellKnown are asked for first, if they are in the index.
var wellKnown = []string{"mutex", "goroutine", "mmap"}

// reader walks an index that nobody changes any more.
type reader struct {
	*view
	ctx   context.Context
	words []found
	walk  Walk
	list  []entry
}

// found is a word that the walk has reached.
type found struct {
	text  string
	word  *Word
	files int
}

// read walks the whole index. An index that is damaged gives an error that
// wraps heap.ErrCorrupt: a list without an end by its length, a pointer out
// of the heap by the fault that following it raises.
func read(ctx context.Context, v *view) (walk Walk, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = faultError(p)
		}
	}()
	r := &reader{view: v, ctx: ctx, walk: Walk{Queries: []Query{}}}
	if err := r.collect(); err != nil {
		return Walk{}, err
	}
	if err := r.digest(); err != nil {
		return Walk{}, err
	}
	r.count()
	err = r.ask()
	return r.walk, err
}

// faultError turns the panic of a wild pointer into an error, and lets every
// other panic go on.
func faultError(p any) error {
	fault, ok := p.(interface {
		runtime.Error
		Addr() uintptr
	})
	if !ok {
		panic(p)
	}
	return fmt.Errorf("walk the index: a pointer leads to %#x, where nothing is mapped: %w", fault.Addr(), heap.ErrCorrupt)
}

// collect reaches every word.
func (r *reader) collect() error {
	for i := range r.buckets {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		for w := r.buckets[i].Load(); w != nil; w = w.Next {
			r.words = append(r.words, found{text: w.Text.String(), word: w})
			if uint64(len(r.words)) > r.limit {
				return cycle("words", r.limit)
			}
		}
	}
	slices.SortFunc(r.words, func(a, b found) int { return strings.Compare(a.text, b.text) })
	return nil
}

// digest reaches every posting, in the order of the digest.
func (r *reader) digest() error {
	d := newDigest(len(r.files))
	for i := range r.files {
		d.path(r.files[i].Path.String())
	}
	for i := range r.words {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if err := r.load(r.words[i].word); err != nil {
			return err
		}
		r.words[i].files = len(r.list)
		r.walk.Postings += uint64(len(r.list))
		d.word(r.words[i].text, r.list)
	}
	r.walk.Words, r.walk.Digest = uint64(len(r.words)), d.String()
	return nil
}

// load copies the postings of a word into r.list.
func (r *reader) load(w *Word) error {
	r.list = r.list[:0]
	_, err := r.posting(w, func(p *Posting) bool {
		r.list = append(r.list, entry{p.File, p.Count})
		return false
	})
	for _, e := range r.list {
		if int(e.file) >= len(r.files) {
			return fmt.Errorf("posting of %q is for file %d of %d: %w", w.Text.String(), e.file, len(r.files), heap.ErrCorrupt)
		}
	}
	return err
}

// count adds up the blocks that the walk has reached. A text or slice without
// content has no block.
func (r *reader) count() {
	w := &r.walk
	w.Strings = oneIf(r.index.Dir.Len() > 0)
	for i := range r.files {
		w.Strings += oneIf(r.files[i].Path.Len() > 0)
	}
	for _, f := range r.words {
		w.Strings += oneIf(len(f.text) > 0)
	}
	w.Slices = oneIf(len(r.files) > 0) + oneIf(len(r.hands) > 0) + oneIf(len(r.buckets) > 0)
	for i := range r.hands {
		w.Held += oneIf(r.hands[i].Posting != nil) + oneIf(r.hands[i].Word != nil)
	}
	w.Blocks = 1 + w.Words + w.Postings + w.Strings + w.Slices + w.Held
}

func oneIf(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// ask answers a few queries: the well-known words, and then the longish ones
// that are in the most files.
func (r *reader) ask() error {
	for _, text := range wellKnown {
		i, ok := slices.BinarySearchFunc(r.words, text, func(f found, t string) int { return strings.Compare(f.text, t) })
		if ok {
			if err := r.answer(r.words[i]); err != nil {
				return err
			}
		}
	}
	frequent := slices.DeleteFunc(slices.Clone(r.words), func(f found) bool {
		return !isLongish(f.text) || slices.Contains(wellKnown, f.text)
	})
	slices.SortStableFunc(frequent, func(a, b found) int { return cmp.Compare(b.files, a.files) })
	for _, f := range frequent {
		if len(r.walk.Queries) == queries {
			break
		}
		if err := r.answer(f); err != nil {
			return err
		}
	}
	return nil
}

// isLongish reports whether a word has at least longish letters and nothing
// but letters.
func isLongish(text string) bool {
	notLetter := func(c rune) bool { return c < 'a' || c > 'z' }
	return len(text) >= longish && !strings.ContainsFunc(text, notLetter)
}

// answer adds the answer to one query.
func (r *reader) answer(f found) error {
	if err := r.load(f.word); err != nil {
		return err
	}
	slices.SortFunc(r.list, func(a, b entry) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.file, b.file))
	})
	q := Query{Word: strings.Clone(f.text), Files: len(r.list), Top: []Hit{}}
	for _, e := range r.list[:min(len(r.list), topFiles)] {
		q.Top = append(q.Top, Hit{Path: strings.Clone(r.files[e.file].Path.String()), Count: e.count})
	}
	r.walk.Queries = append(r.walk.Queries, q)
	return nil
}

// attach opens a heap by name and finds the index in it. The caller closes
// both, the allocator first.
func attach(name string, opts *heap.Options) (h *heap.Heap, a *alloc.Allocator, v *view, err error) {
	if h, err = heap.Open(name, opts); err != nil {
		return nil, nil, nil, err
	}
	if a, err = alloc.Open(h); err == nil {
		if v, err = open(a); err == nil {
			return h, a, v, nil
		}
		a.Close()
	}
	h.Close()
	return nil, nil, nil, err
}
