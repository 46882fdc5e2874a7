package survey

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/probe"
)

const (
	fullVariable = "SHMHEAP_SURVEY" // "full" makes all runs
	gib          = 1 << 30
	tib          = 1 << 40
)

func TestMain(m *testing.M) {
	shmtest.Main(m, map[string]func() error{"worker": worker})
}

// worker is a Go program that has allocated and runs goroutines, and then waits.
func worker() error {
	blocks := make(chan []byte)
	for range 8 {
		go func() {
			b := make([]byte, 4<<20)
			for i := range b {
				b[i] = byte(i)
			}
			blocks <- b
		}()
	}
	var kept [][]byte
	for range 8 {
		kept = append(kept, <-blocks)
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(kept)
	return err
}

// defaultBase returns the ranges where heaps of 1 GiB and of 64 GiB are put by default.
func defaultBase(t *testing.T) []probe.Range {
	t.Helper()
	var ranges []probe.Range
	for _, size := range []uint64{gib, 64 * gib} {
		o, err := probe.Look(size, nil)
		if err != nil {
			t.Fatal(err)
		}
		if o.Base == 0 {
			shmtest.SkipAnywhere(t, "no windows are known for this system")
		}
		ranges = append(ranges, o.Range())
	}
	return ranges
}

// control is a base that was recommended once, inside the random heap of Go.
var control = probe.Range{Start: 0x1000_0000_0000, End: 0x1000_0000_0000 + 16*tib}

func isFull() bool { return os.Getenv(fullVariable) == "full" }

// survey starts a program n times, or full times in a full run, and prints what it finds.
func survey(t *testing.T, name string, n, full int, args ...string) *probe.Profile {
	t.Helper()
	if isFull() {
		n = full
	}
	begin := time.Now()
	p, err := probe.Survey(t.Context(), args, &probe.SurveyOptions{Runs: n, Limit: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d runs in %v, %d unsettled, mmap_rnd_bits %d, %s",
		name, n, time.Since(begin).Round(time.Millisecond), p.Unsettled, p.Settings.RandomBits, p.Settings.Kernel)
	ranges := append(defaultBase(t), probe.Windows()[0].Range)
	for _, r := range append(ranges, control) {
		t.Logf("  %v, %s: %v", r, fmt.Sprintf("%d GiB", r.Size()/gib), p.Collision(r))
	}
	for _, r := range ranges {
		if e := p.Collision(r); e.Hits > 0 {
			t.Errorf("%s is in the way at %v: %v", name, r, e)
		}
	}
	return p
}

func TestCollisionsOfGo(t *testing.T) {
	t.Setenv("SHMTEST_PROGRAM", "worker")
	p := survey(t, "Go", 40, 1000, os.Args[0])
	if !randomHeap() {
		shmtest.SkipAnywhere(t, "the heap of this build of Go is not random: there is no control")
	}
	// A quarter is expected. So many runs miss these bounds once in 100,000 times at most.
	low, high := 1, 26
	if isFull() {
		low, high = 190, 310
	}
	if e := p.Collision(control); e.Hits < low || e.Hits > high {
		t.Errorf("control: %v, want %d to %d hits", e, low, high)
	}
}

// randomHeap reports whether Go places its heap at random in 46 bits here.
func randomHeap() bool {
	info, ok := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" && s.Value == "true" {
			return false
		}
	}
	return ok && runtime.GOARCH == "amd64"
}

func TestCollisionsOfNode(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		shmtest.Skip(t, "no node", "install nodejs")
	}
	p := survey(t, "node", 5, 500, node, "-e", "process.stdin.resume()")
	if e := p.Collision(control); e.Hits == 0 {
		t.Errorf("control: %v, want nearly all", e)
	}
}

// A profile that was stored says the same.
func TestProfileIsKept(t *testing.T) {
	t.Setenv("SHMTEST_PROGRAM", "worker")
	p, err := probe.Survey(t.Context(), []string{os.Args[0]}, &probe.SurveyOptions{Runs: 3})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "profile.json")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := probe.WriteProfile(f, p); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	read, err := probe.LoadProfile(file)
	if err != nil {
		t.Fatal(err)
	}
	for start := uint64(0); start < 1<<47; start += tib {
		r := probe.Range{Start: start, End: start + tib}
		if p.Collision(r) != read.Collision(r) {
			t.Errorf("%v: %v, read back %v", r, p.Collision(r), read.Collision(r))
		}
	}
}
