package demo

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

// built returns a lab with a complete index.
func built(t *testing.T, folder string) *lab {
	t.Helper()
	l := newLab(t, folder, 1)
	if _, err := l.run(l.worker(1, nil)); err != nil {
		t.Fatal(err)
	}
	return l
}

// anyWord returns a word of the index that is in two files or more.
func anyWord(t *testing.T, v *view) *Word {
	t.Helper()
	for i := range v.buckets {
		for w := v.buckets[i].Load(); w != nil; w = w.Next {
			if p := w.Postings.Load(); p != nil && p.Next != nil {
				return w
			}
		}
	}
	t.Fatal("no such word")
	return nil
}

func TestReadAnswers(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/a", "mutex mutex mutex letters letters short_1")
	write(t, dir+"/b", "mutex Letters")
	write(t, dir+"/c", "letters letters letters letters")
	walk := built(t, dir).verify()
	want := []Query{
		{"mutex", 2, []Hit{{"a", 3}, {"b", 1}}},
		{"letters", 3, []Hit{{"c", 4}, {"a", 2}, {"b", 1}}},
	}
	if len(walk.Queries) != len(want) {
		t.Fatalf("got %+v, want %+v", walk.Queries, want)
	}
	for i, q := range walk.Queries {
		if q.Word != want[i].Word || q.Files != want[i].Files || len(q.Top) != len(want[i].Top) || q.Top[0] != want[i].Top[0] {
			t.Errorf("got %+v, want %+v", q, want[i])
		}
	}
	if walk.Words != 3 || walk.Postings != 6 {
		t.Errorf("%d words with %d postings, want 3 with 6", walk.Words, walk.Postings)
	}
}

func TestReadDamage(t *testing.T) {
	dir := folder(t, 5, 7)
	tests := []struct {
		name, want string
		damage     func(*lab)
	}{
		{"words in a circle", "list of words does not end", func(l *lab) {
			w := anyWord(l.t, l.view)
			w.Next = w
		}},
		{"postings in a circle", "list of postings does not end", func(l *lab) {
			p := anyWord(l.t, l.view).Postings.Load()
			p.Next = p
		}},
		{"file out of range", "is for file 99 of", func(l *lab) {
			anyWord(l.t, l.view).Postings.Load().File = 99
		}},
		{"bucket of an unmapped heap", "where nothing is mapped", func(l *lab) {
			if err := errors.Join(l.alloc.Close(), l.heap.Close()); err != nil {
				l.t.Fatal(err)
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := built(t, dir)
			test.damage(l)
			_, err := read(t.Context(), l.view)
			if !errors.Is(err, heap.ErrCorrupt) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("read: %v; want ErrCorrupt with %q", err, test.want)
			}
		})
	}
}

// TestWorkDamage has workers meet lists without an end.
func TestWorkDamage(t *testing.T) {
	l := built(t, folder(t, 5, 8))
	w := anyWord(t, l.view)
	if _, err := l.view.find(w, nil, w.Hash+1, nil); err != nil {
		t.Fatal(err)
	}
	w.Next = w
	if _, err := l.view.find(w, nil, w.Hash+1, nil); !errors.Is(err, heap.ErrCorrupt) {
		t.Errorf("find: %v", err)
	}
	other := &Word{Hash: w.Hash}
	if _, err := l.view.holds(other); !errors.Is(err, heap.ErrCorrupt) {
		t.Errorf("holds: %v", err)
	}
	p := w.Postings.Load()
	p.Next = p
	if _, err := l.view.posting(w, func(*Posting) bool { return false }); !errors.Is(err, heap.ErrCorrupt) {
		t.Errorf("posting: %v", err)
	}
}

func TestReadInterrupted(t *testing.T) {
	l := built(t, folder(t, 2, 9))
	if _, err := read(done(), l.view); !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v", err)
	}
}

func TestFaultErrorPassesOtherPanicsOn(t *testing.T) {
	defer func() {
		if recover() != "other" {
			t.Error("swallowed")
		}
	}()
	faultError("other")
}

// TestStoredTypes has the allocator check the types without storing any.
func TestStoredTypes(t *testing.T) {
	l := newLab(t, folder(t, 1, 10), 1)
	x, err := alloc.LoadRoot[Index](l.alloc, rootName)
	if err != nil || x != l.view.index {
		t.Errorf("root %p, error %v; want %p", x, err, l.view.index)
	}
	v, err := open(l.alloc)
	if err != nil || v.dir != l.corpus.dir || len(v.files) != len(l.corpus.paths) {
		t.Errorf("open: %+v, %v", v, err)
	}
}
