package heap

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/layout"
)

// TestScale measures what grows with peers and with size, in a sparse heap of 1 TiB with 1024 peers. Each peer has a
// description of its own, as a process has. doc/scale.md has the numbers.
func TestScale(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "shmheap-scale-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	begin := time.Now()
	o := &Options{Dir: filepath.Join(dir, "heaps"), Size: 1 << 40, MaxPeers: 1024}
	h := mustCreate(t, "a", o)
	t.Logf("note: a heap of %d GiB is made in %v and takes %d KiB", h.Size()>>30, time.Since(begin), h.Committed()>>10)
	others := make([]*Heap, 0, o.MaxPeers)
	t.Cleanup(func() {
		for _, other := range others {
			other.file.Close()
		}
	})
	var first, last time.Duration
	for range o.MaxPeers - 1 {
		begin := time.Now()
		other, err := attachAgain(h)
		if err != nil {
			t.Fatal(err)
		}
		last = time.Since(begin)
		if others = append(others, other); len(others) == 1 {
			first = last
		}
	}
	t.Logf("note: the second peer attaches in %v, number %d in %v", first, o.MaxPeers, last)
	if _, err := attachAgain(h); err == nil {
		t.Error("one more than there are slots")
	}
	wantAll(t, h, int(o.MaxPeers))
	for _, other := range others[:len(others)/2] {
		other.file.Close()
	}
	begin = time.Now()
	if err := h.ReleaseDead(); err != nil {
		t.Error(err)
	}
	t.Logf("note: %d dead peers are found and released in %v", len(others)/2, time.Since(begin))
	wantAll(t, h, int(o.MaxPeers)-len(others)/2)
	measure(t, "a commit of what has storage already, at the far end, takes nothing:", 100, func() error {
		return h.Commit(h.Size()-layout.GranuleSize, layout.GranuleSize)
	})
	if err := h.SetLimit(1 << 39); err != nil {
		t.Error(err)
	}
	granule := h.geometry.Granules() / 2
	measure(t, "a granule is committed while a limit has to be kept", 20, func() error {
		granule++
		return h.Commit(granule<<layout.GranuleShift, layout.GranuleSize)
	})
	measure(t, "all storage is counted", 10, func() error { h.Committed(); return nil })
}

// wantAll looks at all peers, and measures how long that takes.
func wantAll(t *testing.T, h *Heap, n int) {
	t.Helper()
	begin := time.Now()
	peers, err := h.Peers()
	took := time.Since(begin)
	alive := 0
	for _, p := range peers {
		if p.Alive {
			alive++
		}
	}
	if err != nil || alive != n {
		t.Fatalf("%d peers are alive, want %d, %v", alive, n, err)
	}
	t.Logf("note: %d peers are listed, and asked whether they live, in %v, %v each", n, took, took/time.Duration(n))
}

// measure logs how long something takes, the best of n times.
func measure(t *testing.T, what string, n int, f func() error) {
	t.Helper()
	best := time.Hour
	for range n {
		begin := time.Now()
		if err := f(); err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(begin))
	}
	t.Logf("note: %s in %v", what, best)
}
