package live

import (
	"cmp"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/queue"
)

// Watcher looks at one heap. Its methods may be called by any number of goroutines.
type Watcher struct {
	mu     sync.Mutex
	view   *heap.View
	heap   *alloc.Inspector
	before *moment
}

// moment is what rates are differences of.
type moment struct {
	at     time.Time
	stored uint64
	peers  map[string]*Peer
	class  map[uint64]uint64 // live blocks by size
	queues map[string]queue.Seen
}

// Open begins to look at a heap. The errors are those of heap.Look.
func Open(name string, o *heap.Options) (*Watcher, error) {
	v, err := heap.Look(name, o)
	if err != nil {
		return nil, err
	}
	return &Watcher{view: v, heap: alloc.Look(v)}, nil
}

// Close ends it.
func (w *Watcher) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.view.Close()
}

// View returns the heap that is looked at, for what this package does not show.
func (w *Watcher) View() *heap.View { return w.view }

// Inspector returns what counts its blocks.
func (w *Watcher) Inspector() *alloc.Inspector { return w.heap }

// Look describes the heap, with rates since the last Look and with at most so many cells. Damage is told in the
// Snapshot; an error means that there is nothing to look at any more: heap.ErrNotExist when the heap was
// removed, heap.ErrCorrupt when its file was cut.
func (w *Watcher) Look(cells int) (s *Snapshot, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return s, Guard(func() (err error) {
		s, err = w.look(cells)
		return err
	})
}

// Guard calls f and makes an error of what a file raises that is cut while its mapping is read.
func Guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch r := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			err = fmt.Errorf("%w: the file was cut: nothing at %#x", heap.ErrCorrupt, r.Addr())
		default:
			panic(r)
		}
	}()
	return f()
}

func (w *Watcher) look(cells int) (*Snapshot, error) {
	if err := w.view.Cut(); err != nil {
		return nil, err
	}
	info, err := w.view.Info()
	if err != nil {
		return nil, err
	}
	now := &moment{at: time.Now(), stored: info.Committed, peers: map[string]*Peer{}, class: map[uint64]uint64{}, queues: map[string]queue.Seen{}}
	s := &Snapshot{
		Name: info.Name, Path: info.Path, Base: fmt.Sprintf("%#x", info.Base), Time: now.at.UTC(),
		Size: info.Size, Committed: info.Committed, Limit: info.Limit,
		Peers: []Peer{}, Classes: []Class{}, Queues: []Queue{}, Cells: []Cell{},
	}
	problems := errors.Join(w.addPeers(s), w.addClasses(s), w.addQueues(s, now))
	w.addSpans(s, cells)
	if s.Spaces.Damaged > 0 {
		problems = errors.Join(problems, fmt.Errorf("%d bytes of granules are damaged", s.Spaces.Damaged))
	}
	if problems != nil {
		s.Problem = problems.Error()
	}
	w.addRates(s, now)
	return s, nil
}

func (w *Watcher) addPeers(s *Snapshot) error {
	peers, err := w.view.Peers()
	for _, p := range peers {
		s.Peers = append(s.Peers, Peer{
			ID: p.ID.String(), PID: p.PID, UID: p.UID, Program: p.Program, Attached: p.Attached.UTC(), Alive: p.Alive,
		})
	}
	if err != nil {
		return err
	}
	usage, err := w.heap.Usage()
	for _, u := range usage {
		i := slices.IndexFunc(s.Peers, func(p Peer) bool { return p.ID == u.Peer.String() })
		if i < 0 {
			continue // gone, but for large blocks that it left to others
		}
		p := &s.Peers[i]
		p.Held, p.Quota, p.Blocks = u.Held(), u.Quota, u.Blocks+u.Large
		p.Allocs, p.Frees = u.Allocs+u.LargeAllocs, u.LocalFrees+u.RemoteFrees+u.LargeFrees
	}
	return err
}

func (w *Watcher) addClasses(s *Snapshot) error {
	stats, err := w.heap.Stats()
	s.Live, s.LiveBytes = stats.Live, stats.LiveBytes
	for _, c := range stats.Classes {
		s.Classes = append(s.Classes, Class{Size: c.Size, Slabs: c.Slabs, Live: c.Live, Free: c.Free})
	}
	return err
}

func (w *Watcher) addQueues(s *Snapshot, now *moment) error {
	roots, err := w.view.Roots()
	for _, r := range roots {
		seen, err := queue.Look(w.view, r)
		if errors.Is(err, queue.ErrNoQueue) {
			continue
		}
		q := Queue{
			Root: r.Name, Kind: seen.Kind, Cap: seen.Cap, Depth: seen.Elements, Closed: seen.Closed, Dropped: seen.Dropped,
			Producers: ids(seen.Producers), Consumers: ids(seen.Consumers), PushWaits: seen.PushWaits, PopWaits: seen.PopWaits,
		}
		if err != nil {
			q.Kind, q.Problem = cmp.Or(q.Kind, "?"), err.Error()
		} else {
			now.queues[r.Name] = seen
		}
		s.Queues = append(s.Queues, q)
	}
	return err
}

func ids(peers []heap.PeerID) []string {
	texts := []string{}
	for _, p := range peers {
		texts = append(texts, p.String())
	}
	return texts
}

// addRates compares with the moment before.
func (w *Watcher) addRates(s *Snapshot, now *moment) {
	for i := range s.Peers {
		now.peers[s.Peers[i].ID] = &s.Peers[i]
	}
	for _, c := range s.Classes {
		now.class[c.Size] = c.Live
	}
	before := w.before
	w.before = now
	if before == nil {
		return
	}
	s.Seconds = max(now.at.Sub(before.at).Seconds(), 1e-3)
	s.Growth = (float64(now.stored) - float64(before.stored)) / s.Seconds
	for i := range s.Peers {
		p := &s.Peers[i]
		old := before.peers[p.ID]
		if old == nil {
			old = &Peer{}
		}
		p.Allocs, p.Frees = max(p.Allocs, old.Allocs), max(p.Frees, old.Frees)
		p.AllocRate = growth(old.Allocs, p.Allocs) / s.Seconds
		p.FreeRate = growth(old.Frees, p.Frees) / s.Seconds
		s.Allocs, s.Frees = s.Allocs+p.AllocRate, s.Frees+p.FreeRate
	}
	for i := range s.Classes {
		c := &s.Classes[i]
		c.Rate = (float64(c.Live) - float64(before.class[c.Size])) / s.Seconds
	}
	for i := range s.Queues {
		q := &s.Queues[i]
		if old, ok := before.queues[q.Root]; ok && q.Problem == "" {
			seen := now.queues[q.Root]
			q.PushRate = distance(old.Pushed, seen.Pushed, seen.Modulus) / s.Seconds
			q.PopRate = distance(old.Popped, seen.Popped, seen.Modulus) / s.Seconds
		}
	}
}

// growth is by how much a count has risen. Counts of a peer that is at work are blurred and may fall a little.
func growth(old, now uint64) float64 { return max(float64(now)-float64(old), 0) }

// distance is growth for a position that begins again at the modulus.
func distance(old, now, modulus uint64) float64 {
	if modulus == 0 {
		return growth(old, now)
	}
	d := (now - old) % modulus
	if d > modulus/2 { // a hint that fell back
		return 0
	}
	return float64(d)
}
