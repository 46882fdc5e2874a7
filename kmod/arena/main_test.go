package arena

import (
	"errors"
	"testing"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/kmod/bpf"
)

// TestMain leaves the example out where there can be no arenas: tests/kernel says where there must be.
func TestMain(m *testing.M) {
	h, err := heap.CreateAnonymous(&heap.Options{Size: 4 << 20, MaxCaches: 16, Kernel: New(nil)})
	if err == nil {
		h.Close()
	}
	if !errors.Is(err, bpf.ErrUnsupported) {
		err = nil // the tests will tell
	}
	shmtest.MainWithExamples(m, err)
}
