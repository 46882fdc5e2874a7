package crash

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
)

// A broken peer may write anything over the tables. Processes at work meet errors then, or blocks that
// others have too; they do not crash, hang, or touch anything outside the heap. What they do not read
// is pointers in blocks: those are followed at one's own risk.

func init() { programs["abused"] = runAbused }

// abused is a process that takes every error as an answer.
type abused struct {
	box
	random *rand.Rand
	cache  *alloc.Cache
	held   []unsafe.Pointer // in Go memory, which nobody scribbles over
	errs   int
}

// runAbused works a little each time that it is told to.
func runAbused() error {
	seed, err := strconv.ParseUint(os.Args[2], 10, 64)
	if err != nil {
		return err
	}
	b, err := attach()
	if err != nil {
		return err
	}
	w := &abused{box: b, random: rand.New(rand.NewPCG(seed, 0))}
	w.cache, err = w.alloc.NewCache()
	for ; err == nil; fmt.Println("done", w.errs) {
		shmtest.Listen()
		w.errs = 0
		for i := 0; i < 500 && err == nil; i++ {
			err = w.step()
		}
	}
	return err
}

// step returns an error only for what must not be: a block that is not in the heap.
func (w *abused) step() error {
	switch n := w.random.IntN(500); {
	case n == 0:
		w.note(w.cache.Close())
		c, err := w.alloc.NewCache()
		w.note(err)
		if err == nil {
			w.cache = c
		}
	case n == 1:
		w.lookAround()
	case n < 20:
		return w.exact()
	case n < 200 && len(w.held) > 0:
		last := len(w.held) - 1
		w.note(w.source().Free(w.held[last]))
		w.held = w.held[:last]
	default:
		return w.take()
	}
	return nil
}

func (w *abused) note(err error) {
	if err != nil {
		w.errs++
	}
}

func (w *abused) source() alloc.Source {
	if w.random.IntN(4) == 0 {
		return w.alloc
	}
	return w.cache
}

// lookAround uses what walks over everything.
func (w *abused) lookAround() {
	_, err := w.alloc.Trim()
	w.note(err)
	w.note(w.alloc.Check().Err())
	_, err = w.alloc.Stats()
	w.note(err)
	_, err = w.Peers()
	w.note(err)
	_, err = w.Roots()
	w.note(err)
	_, err = w.alloc.Recover()
	w.note(err)
}

// take allocates and writes to both ends of the block.
func (w *abused) take() error {
	size := randomSize(w.random)
	allocate := []func(uint64) (unsafe.Pointer, error){w.source().Alloc, w.source().AllocPrivate}[w.random.IntN(2)]
	p, err := allocate(size)
	if w.note(err); err != nil {
		return nil
	}
	if !w.alloc.Contains(p, size) {
		return fmt.Errorf("block of %d bytes at %p is not in the heap", size, p)
	}
	words, tail := halves(p, size&^7)
	if len(words) > 0 && len(tail) == 0 {
		words[0], words[len(words)-1] = 0, 0
	}
	w.held = append(w.held, p)
	return nil
}

// exact makes exact operations on a word of a block.
func (w *abused) exact() error {
	if len(w.held) == 0 {
		return nil
	}
	word := (*unsafe.Pointer)(w.held[w.random.IntN(len(w.held))])
	w.note(w.source().AllocInto(word, randomSize(w.random)))
	w.note(w.source().FreeFrom(word))
	return nil
}

// scribbler overwrites words of the tables through a mapping of its own.
type scribbler struct {
	memory mem.Memory
	tables []scribbled
	random *rand.Rand
}

type scribbled struct{ off, stride, count uint64 }

func newScribbler(t *testing.T, path string, g *layout.Geometry, random *rand.Rand) *scribbler {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	base, err := sys.ReserveHint(0, g.Size)
	if err != nil {
		t.Fatal(err)
	}
	p, err := sys.MapFile(f, base, g.Size, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sys.Unmap(base, g.Size); err != nil {
			t.Error(err)
		}
	})
	s, n, first := g.Sections, g.Granules(), g.FirstGranule()
	return &scribbler{memory: mem.At(p, g.Size), random: random, tables: []scribbled{
		{640, 8, (layout.SuperblockSize - 640) / 8}, {s.Committed, 8, layout.BitmapSize(n) / 8},
		{s.Roots, 8, 2 * layout.RootSize / 8}, {s.Peers, layout.PeerSize, 6}, {s.Caches, 8, 20 * layout.CacheSize / 8},
		{s.States + first*8, 8, n - first}, {s.Busy, 8, layout.BitmapSize(n) / 8}, {s.Hints, 8, layout.ChunkHintSize / 8},
		{s.Slabs + first*layout.SlabSize, 8, 64 * layout.SlabSize / 8}, {s.Fine + first*layout.FineSize, 8, 16 * layout.FineSize / 8},
	}}
}

// scribble overwrites one word: with chance, with a state, or with what another word holds.
func (s *scribbler) scribble() {
	r := s.random
	pick := func() *mem.Word {
		t := s.tables[r.IntN(len(s.tables))]
		return s.memory.Word(t.off + r.Uint64N(t.count)*t.stride)
	}
	value := r.Uint64() >> r.IntN(64)
	switch r.IntN(3) {
	case 0:
		value = uint64(layout.MakeState(layout.Kind(r.IntN(6)), r.IntN(42), uint16(r.IntN(10)), r.Uint64N(1<<r.IntN(32))))
	case 1:
		value = pick().Load()
	}
	pick().Swap(value)
}

// TestHostile scribbles while processes work, and lets the command look at what is left.
func TestHostile(t *testing.T) {
	seed := newSeed(t)
	random := rand.New(rand.NewPCG(seed, 0))
	command := buildCommand(t)
	words, errs := 0, 0
	for round := range envNumber(t, "SHMHEAP_HOSTILE", 8) {
		t.Run(strconv.FormatUint(round, 10), func(t *testing.T) {
			w, e := hostileRound(t, random, command)
			words, errs = words+w, errs+e
		})
	}
	t.Logf("note: seed %d: %d words overwritten, %d operations returned an error", seed, words, errs)
	if errs == 0 {
		t.Error("nobody met an error")
	}
}

// hostileRound returns how many words it overwrote, and how many errors came of it.
func hostileRound(t *testing.T, random *rand.Rand, command string) (words, errs int) {
	t.Helper()
	path := filepath.Join(newDir(t), "hostile.heap")
	h, err := heap.Create("hostile", &heap.Options{Path: path, Size: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	g := h.Geometry()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	s := newScribbler(t, path, &g, random)
	var workers []*shmtest.Process
	for range 3 {
		w := shmtest.Start(t, "abused", path, strconv.FormatUint(random.Uint64(), 10))
		w.Ask("warm up")
		workers = append(workers, w)
	}
	for range 4 {
		for _, w := range workers {
			w.Tell("go")
		}
		for range 1 + random.IntN(20) {
			time.Sleep(time.Duration(random.IntN(300)) * time.Microsecond)
			s.scribble()
			words++
		}
		for _, w := range workers {
			line := w.Hear() // or the test fails, because it died or hangs
			n, err := strconv.Atoi(strings.TrimPrefix(line, "done "))
			if err != nil {
				t.Fatal(line)
			}
			errs += n
		}
	}
	workers[0].Kill()
	for _, verb := range []string{"info", "check", "recover", "ls"} {
		look(t, command, verb, path)
	}
	return words, errs
}

// look runs a command on the heap. It may fail, but not badly.
func look(t *testing.T, command, verb, path string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command, verb, path)
	if verb == "ls" {
		cmd.Args = cmd.Args[:2]
		cmd.Env = append(os.Environ(), "SHMHEAP_DIR="+filepath.Dir(path))
	}
	cmd.WaitDelay = time.Second
	timer := time.AfterFunc(shmtest.Patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case !errors.As(err, &exit):
		t.Fatal(err)
	case exit.ExitCode() != 1 && exit.ExitCode() != 3, bytes.Contains(stderr.Bytes(), []byte("goroutine ")):
		t.Errorf("shmheap %s: %v\n%s", verb, err, stderr.Bytes())
	}
}

// buildCommand builds the command.
func buildCommand(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", dir, "github.com/shmheap/shmheap/cmd/shmheap")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build shmheap: %v\n%s", err, out)
	}
	return filepath.Join(dir, "shmheap")
}
