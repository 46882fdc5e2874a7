package kmod

import (
	"fmt"
	"sync"

	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// Word is a control word: a number of 64 bits that the kernel reads whenever it wants to know. Store and Load
// are an instruction each and may be called by any number of goroutines and processes.
type Word struct{ word *mem.Word }

// Store stores the number with release order: a kernel that sees it also sees what was stored before.
func (w Word) Store(v uint64) { w.word.StoreRelease(v) }

// Load returns the number.
func (w Word) Load() uint64 { return w.word.Load() }

// Add adds to the number, atomically among programs, and returns the sum.
func (w Word) Add(delta uint64) uint64 { return w.word.Add(delta) }

func (i *Instance) mapControl() (mem.Memory, error) {
	info, err := infoOf(i.file)
	if err != nil {
		return mem.Memory{}, err
	}
	memory, unmap, err := sys.MapPages(i.file, mapControl, int(max(info.PageSize, 8*ControlWords)), true)
	if err != nil {
		return mem.Memory{}, fmt.Errorf("control words of instance %q: %w", i.name, err)
	}
	i.unmap = unmap
	return mem.Over(memory), nil
}

// Control returns control word n, below ControlWords. The first call maps the words. The word must not be used
// after Close.
func (i *Instance) Control(n int) (Word, error) {
	if n < 0 || n >= ControlWords {
		return Word{}, fmt.Errorf("control word %d of instance %q: %w: there are %d", n, i.name, ErrOptions, ControlWords)
	}
	m, err := i.control()
	if err != nil {
		return Word{}, err
	}
	return Word{m.Word(8 * uint64(n))}, nil
}

// Group is control words that change together, under a sequence word: the kernel sees all of them from
// before a change or all from after it.
type Group struct {
	mu    *sync.Mutex
	seq   Word
	words []Word
}

// Group returns count control words from first on, under the sequence word seq, which is none of them. One
// process may change a group at a time; its goroutines must share the Group.
func (i *Instance) Group(seq, first, count int) (*Group, error) {
	if seq >= first && seq < first+count || count < 1 {
		return nil, fmt.Errorf("group of %d control words at %d under %d: %w", count, first, seq, ErrOptions)
	}
	g := &Group{mu: new(sync.Mutex)}
	var err error
	if g.seq, err = i.Control(seq); err != nil {
		return nil, err
	}
	for n := range count {
		w, err := i.Control(first + n)
		if err != nil {
			return nil, err
		}
		g.words = append(g.words, w)
	}
	return g, nil
}

// Store changes the first words of the group together. It returns ErrOptions for more than there are. Killed in
// between, the sequence stays odd, and the kernel keeps what it had; the next Store repairs that.
func (g *Group) Store(values ...uint64) error {
	if len(values) > len(g.words) {
		return fmt.Errorf("%d values for a group of %d control words: %w", len(values), len(g.words), ErrOptions)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	odd := g.seq.Load() | 1
	// A full barrier: no word is stored before the sequence is odd for everybody.
	g.seq.word.Swap(odd)
	for n, v := range values {
		g.words[n].Store(v)
	}
	g.seq.Store(odd + 1)
	return nil
}
