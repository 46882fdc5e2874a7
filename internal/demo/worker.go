package demo

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

const (
	sweepEvery = 32                   // files between two looks for dead workers
	idle       = 2 * time.Millisecond // between two looks, when there is nothing else to do
)

// identity is what a worker knows about itself and its peers. In a process it
// is made from the heap; a unit test has several in one process.
type identity struct {
	id      heap.PeerID
	alive   func(heap.PeerID) (bool, error)
	recover func() (alloc.Recovered, error)
}

// point names a place between two steps of a worker at which it can be
// stopped or killed.
type point string

// The points, in the order in which a worker passes them.
const (
	atClaimed  point = "a file is claimed"
	atWord     point = "a word is in hand"
	atNamed    point = "the word has its text"
	atWordIn   point = "the word is linked"
	atPosting  point = "a posting is in hand"
	atFilled   point = "the posting is filled"
	atPostedIn point = "the posting is linked"
	atWritten  point = "all postings of the file are linked"
	atTaken    point = "a dead peer's file is claimed"
)

// worker adds files to an index. It is used by one goroutine.
type worker struct {
	*view
	self    identity
	cache   *alloc.Cache
	hand    *Hand
	scanner scanner
	tally   Tally
	pass    func(point) // called at each point, when not nil
}

// Tally is what one worker did.
type Tally struct {
	Files     int       `json:"files"`
	TakenOver int       `json:"taken_over"` // of the files, those that a dead peer had claimed
	Hands     int       `json:"hands"`      // hands of dead peers settled
	Kept      int       `json:"kept"`       // blocks in those hands that were linked already
	Freed     int       `json:"freed"`      // blocks in those hands that were not
	Found     uint64    `json:"found"`      // postings of files taken over that were there already
	Words     uint64    `json:"words"`      // made by this worker
	Postings  uint64    `json:"postings"`   // made by this worker
	Recovered Recovered `json:"recovered"`  // by the allocator
}

// Recovered is alloc.Recovered with names for JSON.
type Recovered struct {
	Peers  int `json:"peers"`
	Caches int `json:"caches"`
	Slabs  int `json:"slabs"`
	Spans  int `json:"spans"`
	Blocks int `json:"blocks"`
}

// add adds to r what one call of alloc.Recover returned.
func (r *Recovered) add(n alloc.Recovered) {
	r.sum(Recovered{
		Peers:  int(n.Peers),
		Caches: int(n.Caches),
		Slabs:  int(n.Slabs),
		Spans:  int(n.Spans),
		Blocks: int(n.Blocks),
	})
}

// sum adds n to r.
func (r *Recovered) sum(n Recovered) {
	r.Peers += n.Peers
	r.Caches += n.Caches
	r.Slabs += n.Slabs
	r.Spans += n.Spans
	r.Blocks += n.Blocks
}

// at tells a test, or a pacer, where the worker is.
func (w *worker) at(p point) {
	if w.pass != nil {
		w.pass(p)
	}
}

// run works until every file is done, whoever did it. It returns early, with
// an error, when ctx is done.
func (w *worker) run(ctx context.Context) error {
	if err := w.takeHand(); err != nil {
		return err
	}
	if err := w.firstRound(ctx); err != nil {
		return err
	}
	for {
		left, err := w.sweep(ctx, true)
		if err != nil || left == 0 {
			return err
		}
		// What is left is in the hands of live peers. They finish it, or
		// die and leave it to us.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(idle):
		}
	}
}

// firstRound takes files in order until the cursor is at the end. Killed
// between the two words, a worker leaves a file that nobody has; the sweeps
// of the others find it.
func (w *worker) firstRound(ctx context.Context) error {
	for n := 1; ; n++ {
		i := w.index.Cursor.Add(1) - 1
		if i >= uint64(len(w.files)) {
			return nil
		}
		if w.files[i].Claim.CompareAndSwap(nobody, uint64(w.self.id)) {
			if err := w.work(ctx, int(i), false); err != nil {
				return err
			}
		}
		if n%sweepEvery == 0 {
			if _, err := w.sweep(ctx, false); err != nil {
				return err
			}
		}
	}
}

// sweep looks at all files that were ever looked at, takes those of dead
// peers and, in the last round, those that nobody has. It returns how many
// are left to others.
func (w *worker) sweep(ctx context.Context, last bool) (left int, err error) {
	n := min(w.index.Cursor.Load(), uint64(len(w.files)))
	for i := range int(n) {
		f := &w.files[i]
		claim := f.Claim.Load()
		mine := claim == finished
		switch {
		case mine:
			continue
		case claim != nobody:
			mine, err = w.takeOver(ctx, i, heap.PeerID(claim))
		case last && f.Claim.CompareAndSwap(nobody, uint64(w.self.id)):
			mine, err = true, w.work(ctx, i, false)
		}
		if err != nil {
			return left, err
		}
		if !mine {
			left++
		}
	}
	return left, nil
}

// takeOver finishes file i if the peer that has claimed it is dead.
func (w *worker) takeOver(ctx context.Context, i int, claimant heap.PeerID) (bool, error) {
	alive, err := w.self.alive(claimant)
	if err != nil || alive {
		return false, err
	}
	settled, err := w.settle(claimant)
	if err != nil || !settled {
		return false, err
	}
	if !w.files[i].Claim.CompareAndSwap(uint64(claimant), uint64(w.self.id)) {
		return false, nil
	}
	w.at(atTaken)
	w.tally.TakenOver++
	return true, w.work(ctx, i, true)
}

// work adds file i, which this worker has claimed, and marks it done. With
// again set, some of its postings may be there already.
func (w *worker) work(ctx context.Context, i int, again bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.at(atClaimed)
	path := w.files[i].Path.String()
	terms, err := w.scanner.file(filepath.Join(w.dir, path))
	if err != nil {
		return err
	}
	for _, t := range terms {
		if err := w.add(uint32(i), t, again); err != nil {
			return fmt.Errorf("add %q of %s: %w", t.text, path, err)
		}
	}
	w.at(atWritten)
	w.files[i].Claim.Store(finished)
	w.tally.Files++
	return nil
}

// add makes the posting of one term of a file.
func (w *worker) add(file uint32, t term, again bool) error {
	word, err := w.intern(t.hash, t.text)
	if err != nil {
		return err
	}
	if again {
		there, err := w.posting(word, func(p *Posting) bool { return p.File == file })
		if err != nil {
			return err
		}
		if there != nil {
			w.tally.Found++
			return nil
		}
	}
	return w.post(word, file, t.count)
}

// intern returns the one Word with this text, and makes it if need be.
func (w *worker) intern(hash uint64, text []byte) (*Word, error) {
	bucket := w.bucket(hash)
	head := bucket.Load()
	if found, err := w.find(head, nil, hash, text); found != nil || err != nil {
		return found, err
	}
	fresh, err := w.makeWord(hash, text)
	if err != nil {
		return nil, err
	}
	for {
		fresh.Next = head
		// Publishes the word: the partner is any Load of the bucket.
		if bucket.CompareAndSwap(head, fresh) {
			w.at(atWordIn)
			w.hand.Word = nil
			w.tally.Words++
			return fresh, nil
		}
		// Somebody was faster: perhaps with the same word, and if so in
		// front of what we have searched.
		now := bucket.Load()
		found, err := w.find(now, head, hash, text)
		if err != nil {
			return nil, err
		}
		if found != nil {
			return found, w.dropWord(w.hand)
		}
		head = now
	}
}

// makeWord allocates a word into the hand.
func (w *worker) makeWord(hash uint64, text []byte) (*Word, error) {
	word, err := alloc.NewInto(w.cache, &w.hand.Word)
	if err != nil {
		return nil, err
	}
	w.at(atWord)
	word.Hash = hash
	if err := alloc.MakeStringInto(w.cache, &word.Text, string(text)); err != nil {
		return nil, err
	}
	w.at(atNamed)
	return word, nil
}

// post puts a new posting in front of its word's list.
func (w *worker) post(word *Word, file, count uint32) error {
	p, err := alloc.NewInto(w.cache, &w.hand.Posting)
	if err != nil {
		return err
	}
	w.at(atPosting)
	p.Word, p.File, p.Count = word, file, count
	w.at(atFilled)
	for {
		head := word.Postings.Load()
		p.Next = head
		// Publishes the posting: the partner is any Load of Postings.
		if word.Postings.CompareAndSwap(head, p) {
			break
		}
	}
	w.at(atPostedIn)
	w.hand.Posting = nil
	w.tally.Postings++
	return nil
}
