package scale

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
)

func TestMain(m *testing.M) {
	shmtest.Main(m, map[string]func() error{"peer": runPeer})
}

// peers is how many processes there are.
func peers(t *testing.T) int {
	t.Helper()
	text, ok := os.LookupEnv("SHMHEAP_PEERS")
	if !ok {
		return 24
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// runPeer attaches, allocates from each size class and a large block, and waits to be killed.
func runPeer() error {
	begin := time.Now()
	h, err := heap.Open("scale", &heap.Options{Dir: os.Args[1]})
	if err != nil {
		return err
	}
	a, err := alloc.Open(h)
	if err != nil {
		return err
	}
	opened := time.Since(begin)
	for size := uint64(16); size <= 64<<10; size *= 2 {
		if _, err := a.Alloc(size); err != nil {
			return err
		}
	}
	fmt.Println(opened.Microseconds(), time.Since(begin).Microseconds())
	shmtest.Listen()
	return h.Close()
}

// TestManyPeers: as many processes as there are slots work in a sparse heap of 1 TiB. All but one are killed at
// once, and that one returns what they held.
func TestManyPeers(t *testing.T) {
	n := peers(t)
	parent := ""
	if runtime.GOOS == "linux" {
		parent = "/dev/shm"
	}
	public, err := os.MkdirTemp(parent, "shmheap-scale-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(public) })
	dir := filepath.Join(public, "heaps")
	h, err := heap.Create("scale", &heap.Options{Dir: dir, Size: 1 << 40, MaxPeers: uint32(n), MaxCaches: uint32(4 * n)})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	started := make([]*shmtest.Process, n-1)
	var worst, opened, ready int
	for i := range started {
		started[i] = shmtest.Start(t, "peer", dir)
		fmt.Sscan(started[i].Hear(), &opened, &ready)
		worst = max(worst, ready)
	}
	t.Logf("note: the last of %d processes opened the heap in %d us, the slowest had allocated after %d us", n, opened, worst)
	report(t, a, n)
	for _, p := range started {
		p.Signal(os.Kill)
	}
	for _, p := range started {
		p.Wait()
	}
	begin := time.Now()
	r, err := a.Recover()
	if err != nil || r.Peers != n-1 {
		t.Errorf("recovered %+v, %v", r, err)
	}
	t.Logf("note: recovered from %d deaths in %v: %d caches, %d slabs, %d free blocks", r.Peers, time.Since(begin), r.Caches, r.Slabs, r.Blocks)
	begin = time.Now()
	report := a.Check()
	t.Logf("note: checked in %v", time.Since(begin))
	for _, p := range append(report.Problems, report.Notes...) {
		t.Error("check: ", p)
	}
	if done, err := a.Collect(t.Context(), nil); err != nil || done.Blocks != uint64(13*(n-1)) {
		t.Errorf("collected %d blocks, %v, want 13 of each", done.Blocks, err)
	}
}

// report says what the heap takes with all of them.
func report(t *testing.T, a *alloc.Allocator, n int) {
	t.Helper()
	begin := time.Now()
	s, err := a.Stats()
	if err != nil || s.Live != uint64(13*(n-1)) {
		t.Errorf("%d blocks are in use, %v", s.Live, err)
	}
	t.Logf("note: counted in %v: %d slabs, %d MiB committed, %d KiB a process", time.Since(begin), s.Slabs, s.Committed>>20, s.Committed>>10/uint64(n))
	begin = time.Now()
	all, err := a.Heap().Peers()
	if err != nil || len(all) != n {
		t.Errorf("%d peers, %v", len(all), err)
	}
	t.Logf("note: peers listed in %v", time.Since(begin))
}
