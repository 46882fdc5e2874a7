package bench

import (
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/internal/sys"
)

// The sources that the loops exist for. A name is also the beginning of the names of two functions, that
// make and free a node with it.
type (
	cacheSource = *alloc.Cache     // one for each worker
	heapSource  = *alloc.Allocator // shared by all that want to
	goSource    = *garbage
	timedSource = *stopwatch
)

// node is what the nodes loop makes lists of: 48 bytes.
type node struct {
	next *node
	key  uint64
	rest [4]uint64
}

func cacheSourceNode(c cacheSource) (*node, error)     { return alloc.New[node](c) }
func cacheSourceDrop(c cacheSource, n *node) error     { return alloc.Delete(c, n) }
func heapSourceNode(a heapSource) (*node, error)       { return alloc.New[node](a) }
func heapSourceDrop(a heapSource, n *node) error       { return alloc.Delete(a, n) }
func goSourceNode(goSource) (*node, error)             { return new(node), nil }
func goSourceDrop(goSource, *node) error               { return nil }
func timedSourceNode(s timedSource) (n *node, e error) { return s.node() }
func timedSourceDrop(s timedSource, n *node) error     { return s.drop(n) }

// garbage allocates Go memory, which is freed by forgetting it.
type garbage struct{}

// Alloc makes zeroed bytes: Go has no others.
func (*garbage) Alloc(size uint64) (unsafe.Pointer, error) {
	return unsafe.Pointer(unsafe.SliceData(make([]byte, size))), nil
}

// Free leaves the block to the collector.
func (*garbage) Free(unsafe.Pointer) error { return nil }

// nothing is the allocator of the empty loop.
type nothing struct{ block [8]uint64 }

// Alloc is a call that cannot be inlined, like that of an allocator.
//
//go:noinline
func (n *nothing) Alloc(uint64) (unsafe.Pointer, error) { return unsafe.Pointer(n), nil }

// Free is another.
//
//go:noinline
func (n *nothing) Free(unsafe.Pointer) error { return nil }

// untimed is what a stopwatch times. Its calls are indirect, which costs little beside the clock's fences.
type untimed interface {
	Alloc(size uint64) (unsafe.Pointer, error)
	Free(p unsafe.Pointer) error
}

// stopwatch is a source that times each call of another, between run.begin and run.end.
type stopwatch struct {
	src         untimed
	makeNode    func() (*node, error)
	counting    bool
	alloc, free Histogram
}

// count says whether calls count from now on. They are timed in any case, so that nothing else changes.
func (s *stopwatch) count(on bool) {
	if s != nil {
		s.counting = on
	}
}

func (s *stopwatch) add(h *Histogram, ticks uint64) {
	if s.counting {
		h.Add(ticks)
	}
}

// Alloc allocates and adds how long that took to the histogram.
func (s *stopwatch) Alloc(size uint64) (unsafe.Pointer, error) {
	begin := sys.Ticks()
	p, err := s.src.Alloc(size)
	s.add(&s.alloc, sys.Ticks()-begin)
	return p, err
}

// Free is the same for freeing.
func (s *stopwatch) Free(p unsafe.Pointer) error {
	begin := sys.Ticks()
	err := s.src.Free(p)
	s.add(&s.free, sys.Ticks()-begin)
	return err
}

func (s *stopwatch) node() (*node, error) {
	begin := sys.Ticks()
	n, err := s.makeNode()
	s.add(&s.alloc, sys.Ticks()-begin)
	return n, err
}

func (s *stopwatch) drop(n *node) error { return s.Free(unsafe.Pointer(n)) }

// newStopwatch returns one for the source, which is one of those above.
func newStopwatch(src untimed) *stopwatch {
	s := &stopwatch{src: src}
	switch src := src.(type) {
	case cacheSource:
		s.makeNode = func() (*node, error) { return cacheSourceNode(src) }
	case heapSource:
		s.makeNode = func() (*node, error) { return heapSourceNode(src) }
	default:
		s.makeNode = func() (*node, error) { return goSourceNode(nil) }
	}
	return s
}

// clockCost is what two reads of the clock cost with a call in between that does nothing.
func clockCost() uint64 {
	s := newStopwatch(new(nothing))
	s.count(true)
	for range 20_000 {
		s.Alloc(0)
	}
	return uint64(s.alloc.Quantile(0.5))
}

// loopsOf returns the loops over a source.
func loopsOf(r *run, src untimed) map[string]func() error {
	switch src := src.(type) {
	case cacheSource:
		return (&cacheLoops{r, src}).all()
	case heapSource:
		return (&heapLoops{r, src}).all()
	case goSource:
		return (&goLoops{r, src}).all()
	case timedSource:
		return (&timedLoops{r, src}).all()
	}
	return nil
}

// empty is the loop of pairs over nothing.
func (r *run) empty() error {
	src := new(nothing)
	var live [512]unsafe.Pointer
	for i := range live {
		live[i], _ = src.Alloc(1)
	}
	r.begin()
	n := uint64(0)
	for !r.over() {
		for end := n + batch; n < end; n++ {
			k := n * 7 & (uint64(len(live)) - 1)
			if err := src.Free(live[k]); err != nil {
				return err
			}
			p, err := src.Alloc(uint64(r.sizes[n&sizeMask]))
			if err != nil {
				return err
			}
			*(*uint64)(p) = n
			live[k] = p
		}
	}
	r.end(n)
	return nil
}
