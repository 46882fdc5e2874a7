package queue

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// programs are what the tests run in processes of their own. Each file adds its own.
var programs = map[string]func() error{}

func TestMain(m *testing.M) { shmtest.Main(m, programs) }

// place is a heap with its allocator, open in this process.
type place struct {
	heap  *heap.Heap
	alloc *alloc.Allocator
	dir   string
}

const heapName = "queues"

func newPlace(t testing.TB, size uint64) place {
	t.Helper()
	parent := ""
	if runtime.GOOS == "linux" {
		parent = "/dev/shm"
	}
	dir, err := os.MkdirTemp(parent, "shmheap-queue-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p, err := open(filepath.Join(dir, "heaps"), size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.heap.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// open creates the heap, or opens it when size is 0.
func open(dir string, size uint64) (place, error) {
	o := &heap.Options{Dir: dir, Size: size}
	var h *heap.Heap
	var err error
	if size != 0 {
		h, err = heap.Create(heapName, o)
	} else {
		h, err = heap.Open(heapName, o)
	}
	if err != nil {
		return place{}, err
	}
	a, err := alloc.Open(h)
	return place{h, a, dir}, err
}

// attach opens, in a program, the heap of the test in the directory of the first argument.
func attach() (place, error) { return open(os.Args[1], 0) }

// number is a number among the arguments of a program.
func number(i int) (int, error) { return strconv.Atoi(os.Args[i]) }

// kills is how many processes a test kills: fewer than the long run that the variable asks for.
func kills(t testing.TB, usual int) int {
	t.Helper()
	text, ok := os.LookupEnv("SHMHEAP_KILLS")
	if !ok {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(errors.Join(errors.New("SHMHEAP_KILLS wants a number"), err))
	}
	return n
}
