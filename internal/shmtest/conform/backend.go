package conform

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// Backend is where heaps are kept.
type Backend struct {
	Name string
	// Kernel returns what keeps the heap, given the descriptors that a process has received for it: none where
	// it goes by name. nil stands for a heap in a file.
	Kernel func(received []*os.File) heap.Kernel
	// Anonymous heaps have no name: processes receive descriptors.
	Anonymous bool
	// Descriptors returns what processes receive besides heap.File's, nil for none.
	Descriptors func(*heap.Heap) ([]*os.File, error)
	// Keeps says that storage cannot be given back.
	Keeps bool
}

const (
	program  = "conform"
	heapName = "conform"
	size     = 24 << 20
)

// Main runs the tests of a package, or the program of one.
func Main(m *testing.M, programs map[string]func() error, backends ...Backend) {
	all := map[string]func() error{program: func() error { return runPart(backends) }}
	for name, f := range programs {
		all[name] = f
	}
	shmtest.Main(m, all)
}

func (b *Backend) options(dir string, received []*os.File) *heap.Options {
	o := &heap.Options{Dir: filepath.Join(dir, "heaps"), Size: size, MaxPeers: 32, MaxRoots: 16, MaxCaches: 256}
	if b.Kernel != nil {
		o.Kernel = b.Kernel(received)
	}
	return o
}

// place is an open heap with its allocator.
type place struct {
	*heap.Heap
	alloc *alloc.Allocator
}

func opened(h *heap.Heap, err error) (place, error) {
	if err != nil {
		return place{}, err
	}
	a, err := alloc.Open(h)
	if err != nil {
		return place{}, errors.Join(err, h.Close())
	}
	return place{h, a}, nil
}

// lab is one test's heap.
type lab struct {
	place
	b   Backend
	dir string
	fds []*os.File
}

func newLab(t *testing.T, b Backend) *lab {
	t.Helper()
	l := &lab{b: b, dir: t.TempDir()}
	o := b.options(l.dir, nil)
	var err error
	if b.Anonymous {
		l.place, err = opened(heap.CreateAnonymous(o))
	} else {
		l.place, err = opened(heap.Create(heapName, o))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.end(t, o) })
	if b.Anonymous {
		l.share(t)
	}
	return l
}

// share makes the descriptors that processes receive.
func (l *lab) share(t *testing.T) {
	t.Helper()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	l.fds = []*os.File{f}
	if l.b.Descriptors == nil {
		return
	}
	more, err := l.b.Descriptors(l.Heap)
	if err != nil {
		t.Fatal(err)
	}
	l.fds = append(l.fds, more...)
}

// end checks the heap and takes it away.
func (l *lab) end(t *testing.T, o *heap.Options) {
	for _, report := range []*heap.Report{l.Check(), l.alloc.Check()} {
		if err := report.Err(); err != nil {
			t.Error(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	for _, f := range l.fds {
		f.Close()
	}
	if l.b.Anonymous {
		return
	}
	if err := heap.Remove(heapName, o); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(o.Dir); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// start runs a part in a process of its own.
func (l *lab) start(t *testing.T, part string) *shmtest.Process {
	t.Helper()
	cmd := shmtest.Command(program, l.b.Name, l.dir, part)
	cmd.ExtraFiles = l.fds
	return shmtest.StartCommand(t, cmd)
}

// runPart is the program: it opens the heap and runs the part that it was started for.
func runPart(backends []Backend) error {
	for _, b := range backends {
		if b.Name != os.Args[1] {
			continue
		}
		part, ok := parts[os.Args[3]]
		if !ok {
			return fmt.Errorf("no part %q", os.Args[3])
		}
		p, err := b.join(os.Args[2])
		if err != nil {
			return err
		}
		return errors.Join(part(p), p.Close())
	}
	return fmt.Errorf("no backend %q", os.Args[1])
}

// join opens the heap of the test in another process.
func (b *Backend) join(dir string) (place, error) {
	if !b.Anonymous {
		return opened(heap.Open(heapName, b.options(dir, nil)))
	}
	const first = 3 // of the descriptors that a process inherits
	var received []*os.File
	for i := range 3 {
		received = append(received, os.NewFile(uintptr(first+i), "received"))
	}
	return opened(heap.OpenFile(received[0], b.options(dir, received[1:])))
}
