package compat

import (
	"path/filepath"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/lock"
)

// TestFingerprint: programs find a struct with locks by the fingerprint of its type, in heaps that earlier releases have
// made too. So the names and offsets of what locks consist of are frozen.
func TestFingerprint(t *testing.T) {
	type frozen struct {
		Mutex     lock.Mutex
		RWMutex   lock.RWMutex
		Semaphore lock.Semaphore
		Cond      lock.Cond
		Once      lock.Once
		Barrier   lock.Barrier
	}
	h, err := heap.Create("test", &heap.Options{Dir: filepath.Join(t.TempDir(), "heaps"), Size: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	if err := alloc.StoreRoot[frozen](a, "r", nil); err != nil {
		t.Fatal(err)
	}
	if r, err := h.LoadRoot("r"); err != nil || r.Type != 0xc12_2bff_ab83_b2d0 {
		t.Errorf("the fingerprint is %#x, %v", uint64(r.Type), err)
	}
}
