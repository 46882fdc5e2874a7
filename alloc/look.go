package alloc

import (
	"fmt"

	"github.com/shmheap/shmheap/heap"
)

// Inspector counts the blocks of a heap that is looked at and not taken part in: it allocates nothing, recovers
// nothing and changes nothing, so what dead peers left can be seen. Its methods may be called by any number of
// goroutines, until the View is closed.
type Inspector struct{ a *Allocator }

// Look makes an Inspector for a heap that is looked at.
func Look(v *heap.View) *Inspector {
	a := view(watcher{v})
	a.base = v.Base()
	return &Inspector{a}
}

// Stats is Allocator.Stats.
func (i *Inspector) Stats() (Stats, error) { return i.a.Stats() }

// Usage is Allocator.Usage.
func (i *Inspector) Usage() ([]PeerUsage, error) { return i.a.Usage() }

// Profile is Allocator.Profile.
func (i *Inspector) Profile() ([]Sample, error) { return i.a.Profile() }

// Spans is Allocator.Spans.
func (i *Inspector) Spans(yield func(Span) bool) { i.a.Spans(yield) }

// Locate is Allocator.Locate.
func (i *Inspector) Locate(off uint64) (Place, error) { return i.a.Locate(off) }

// watcher is a region in which nothing can be changed.
type watcher struct{ *heap.View }

func (w watcher) refuse(what string) error {
	return fmt.Errorf("%s: heap %q is only looked at", what, w.Name())
}

// Commit implements region.
func (w watcher) Commit(uint64, uint64) error { return w.refuse("commit") }

// Decommit implements region.
func (w watcher) Decommit(uint64, uint64) error { return w.refuse("decommit") }

// ReleaseDead implements region.
func (w watcher) ReleaseDead() error { return w.refuse("release dead peers") }

// Alone implements region.
func (w watcher) Alone() (func(), error) { return nil, w.refuse("exclude others") }
