package heap

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/sys"
)

// Departure says that a peer is gone.
type Departure struct {
	Peer PeerID // who is gone

	// Died is true for a peer whose process ended, or gave up the heap by exec, without Close. It is
	// false for one that detached, and for one that died and was recovered by another process before
	// this one looked: the two look alike then, and nothing is left to be done for either.
	Died bool
}

// Watch calls gone for every peer that goes, each once, until ctx is done, and returns its error then, or
// ErrClosed when this heap is closed. Peers that are dead when it is called are told too, peers that come
// and go between two looks are not. gone may use the heap, and that is what it is for: alloc's Recover
// returns at once what the dead held. Any number of goroutines and processes may watch.
//
// On Linux the kernel tells of every description of the heap's file that is given up, in whatever
// namespace, and Watch looks at the locks of the peers then: a death is noticed in a fraction of a
// millisecond, and waiting costs nothing. Where the kernel tells nothing the locks are looked at every
// 4 ms, which takes about a microsecond for each peer. A look 4 times a second backs up the former.
func (h *Heap) Watch(ctx context.Context, gone func(Departure)) error {
	w := newWatch(h)
	if err := w.begin(); err != nil {
		return fmt.Errorf("watch heap %q: %w", h.Name(), err)
	}
	defer w.end()
	return h.watch(ctx, w, gone)
}

// Nudge makes every Watch of this process look now, and again soon: for who has heard from elsewhere that a process
// is going, and sooner than the file tells. It never waits. It returns ErrClosed.
func (h *Heap) Nudge() error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.leave()
	h.watches.Lock()
	defer h.watches.Unlock()
	for w := range h.watches.all {
		w.nudged.Store(true)
		_ = w.closings.Wake() // one that is not waiting sees the mark
	}
	return nil
}

// watches are the Watches under way that can be woken.
type watches struct {
	sync.Mutex
	all map[*watch]struct{}
}

func (s *watches) add(w *watch) {
	s.Lock()
	defer s.Unlock()
	if s.all == nil {
		s.all = make(map[*watch]struct{})
	}
	s.all[w] = struct{}{}
}

func (s *watches) remove(w *watch) {
	s.Lock()
	defer s.Unlock()
	delete(s.all, w)
}

func (h *Heap) watch(ctx context.Context, w *watch, gone func(Departure)) error {
	if w.closings != nil {
		defer context.AfterFunc(ctx, func() { _ = w.closings.Wake() })()
		h.watches.add(w)
		defer h.watches.remove(w)
	}
	for ctx.Err() == nil {
		departures, err := w.look()
		if err != nil {
			return fmt.Errorf("watch heap %q: %w", h.Name(), err)
		}
		for _, d := range departures {
			gone(d)
		}
		if err := w.wait(ctx); err != nil {
			return fmt.Errorf("watch heap %q: %w", h.Name(), err)
		}
	}
	return ctx.Err()
}

// How long Watch waits between two looks.
const (
	watchPoll  = 4 * time.Millisecond   // where the kernel tells nothing
	watchIdle  = 250 * time.Millisecond // where it does
	watchFirst = 50 * time.Microsecond  // behind a closing: the lock goes a moment later
	watchLast  = 20 * time.Millisecond  // doubled up to this; then it was somebody else's closing
)

// watch is what one Watch knows.
type watch struct {
	heap     *Heap
	closings *sys.Closings     // nil where the kernel tells nothing
	soon     time.Duration     // behind a closing, how long to wait for the next look; else 0
	known    map[uint16]PeerID // the last peer seen in a slot, unless it has been told
	told     map[uint16]PeerID // the last that was told as dead
	nudged   atomic.Bool       // by Nudge
}

func newWatch(h *Heap) *watch {
	return &watch{heap: h, known: make(map[uint16]PeerID), told: make(map[uint16]PeerID)}
}

// begin watches the file, if closing a description of it shows that the kernel tells of that.
func (w *watch) begin() error {
	if err := w.heap.enter(); err != nil {
		return err
	}
	defer w.heap.leave()
	if w.heap.leases != nil {
		return nil // other machines' kernels tell nothing
	}
	closings, err := sys.WatchClosings(w.heap.file)
	if err != nil {
		return nil
	}
	if f, err := w.heap.reopen(); err == nil && f.Close() == nil {
		if told, err := closings.Wait(time.Now().Add(watchIdle)); told && err == nil {
			w.closings = closings
			return nil
		}
	}
	return closings.Close()
}

func (w *watch) end() {
	if w.closings != nil {
		_ = w.closings.Close() // nothing is written there
	}
}

// wait waits until it is time for another look.
func (w *watch) wait(ctx context.Context) error {
	if w.closings == nil {
		return sleep(ctx, watchPoll)
	}
	if w.nudged.Swap(false) {
		w.soon = watchFirst
	}
	pause := watchIdle
	if w.soon > 0 {
		pause = w.soon
	}
	deadline := time.Now().Add(pause)
	if ctx.Err() != nil {
		return nil
	}
	told, err := w.closings.Wait(deadline)
	switch {
	case told || w.nudged.Swap(false):
		w.soon = watchFirst
	case w.soon > 0:
		if w.soon *= 2; w.soon > watchLast {
			w.soon = 0
		}
	}
	return err
}

func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return nil
}

// look compares the table of peers with what is known.
func (w *watch) look() (gone []Departure, err error) {
	h := w.heap
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	for i := range h.peers {
		slot, state := uint16(i), h.peers[i].State.Load()
		id := MakePeerID(slot, uint32(state>>layout.PeerStateBits))
		attached := state == attachedState(id)
		if old, ok := w.known[slot]; ok && (!attached || old != id) {
			delete(w.known, slot)
			gone = append(gone, Departure{Peer: old})
		}
		if !attached || id == h.peer || w.told[slot] == id {
			continue
		}
		alive, err := h.alive(id)
		switch {
		case err != nil:
			return gone, err
		case alive:
			w.known[slot] = id
		case h.peers[i].State.Load() == state:
			delete(w.known, slot)
			w.told[slot] = id
			gone = append(gone, Departure{Peer: id, Died: true})
		}
	}
	return gone, nil
}
