//go:build !crashpoint && !shmheap_portable

// Builds with those tags are left out: what is tested here are programs that do not have them.

package proof

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"structs"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/probe"
)

// board is what all programs share. attach/main.go and testdata/attach.c have their own declarations.
type board struct {
	_ structs.HostLayout

	Self *board
	Came atomic.Uint64
	Work atomic.Uint64
	Left atomic.Uint64
}

// workEach is how much each program that attaches adds to Work.
const workEach = 1000

// size is that of the heap: more than a program may have whose address space is limited.
const size = 4 << 30

// proof is the heap that all programs attach to, and what became of them.
type proof struct {
	*heap.Heap
	alloc *alloc.Allocator
	board *board
	runs  int // how often each kind starts in the plain environment

	mu      sync.Mutex
	tickets []uint64          // what Came was for each program that attached
	scores  map[string]*score // by kind and environment
}

// score counts the starts that ended as they must.
type score struct{ ok, total int }

func newProof(t *testing.T) *proof {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "shmheap-proof-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h, err := heap.Create("proof", &heap.Options{Dir: filepath.Join(dir, "heaps"), Size: size})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	p := &proof{Heap: h, runs: runs(t), scores: make(map[string]*score)}
	if p.alloc, err = alloc.Open(h); err != nil {
		t.Fatal(err)
	}
	if p.board, err = alloc.New[board](p.alloc); err != nil {
		t.Fatal(err)
	}
	p.board.Self = p.board
	if err := alloc.StoreRoot(p.alloc, "board", p.board); err != nil {
		t.Fatal(err)
	}
	return p
}

// runs returns how often to start each program.
func runs(t *testing.T) int {
	t.Helper()
	text := os.Getenv("SHMHEAP_PROOF_RUNS")
	if text == "" {
		return 5
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("SHMHEAP_PROOF_RUNS=%s: %v", text, err)
	}
	return n
}

// wantWindow fails the test if the heap is not where this system's heaps belong.
func (p *proof) wantWindow(t *testing.T) {
	t.Helper()
	windows := probe.Windows()
	if len(windows) == 0 {
		shmtest.SkipAnywhere(t, "no windows are known for this system")
	}
	if w := windows[0]; p.Base() < w.Start || p.Base()+size > w.End {
		t.Errorf("base %#x is outside the first window, %v", p.Base(), w.Range)
	}
}

func TestPrograms(t *testing.T) {
	p := newProof(t)
	p.wantWindow(t)
	t.Run("kind", func(t *testing.T) {
		for _, k := range kinds() {
			t.Run(k.name, func(t *testing.T) {
				t.Parallel()
				p.startKind(t, k)
			})
		}
	})
	p.wantTotal(t)
}

// startKind builds a program once and starts it in each environment.
func (p *proof) startKind(t *testing.T, k kind) {
	args := k.build(t)
	for _, e := range k.environments() {
		t.Run(e.name, func(t *testing.T) {
			e.want(t)
			name := k.name + ", " + e.name
			for range e.times(p.runs) {
				err := p.start(t, e, args)
				if err != nil {
					e.wantStart(t, args)
					t.Errorf("%s: %v", name, err)
				}
				p.count(name, err == nil)
			}
		})
	}
}

// start runs the program once and compares what it reports with what it must.
func (p *proof) start(t *testing.T, e environment, args []string) error {
	out := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(out, nil, 0o600); err != nil {
		return err
	}
	cmd := e.command(t, args)
	cmd.Env = append(cmd.Env, "SHMHEAP_PROOF_HEAP="+p.Path(), "SHMHEAP_PROOF_OUT="+out)
	said, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, said)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		return err
	}
	if err := p.judge(e, strings.TrimSpace(string(text))); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, said)
	}
	return nil
}

// judge wants the expected refusal, or the heap's base and a ticket that nobody else has.
func (p *proof) judge(e environment, report string) error {
	if e.refusal != "" {
		if report != e.refusal {
			return fmt.Errorf("reported %q, want %q", report, e.refusal)
		}
		return nil
	}
	var base, ticket uint64
	if _, err := fmt.Sscanf(report, "attached %v %d\nleft", &base, &ticket); err != nil {
		return fmt.Errorf("reported %q: %w", report, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tickets = append(p.tickets, ticket)
	if base != p.Base() {
		return fmt.Errorf("base %#x, want %#x", base, p.Base())
	}
	return nil
}

func (p *proof) count(name string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.scores[name]
	if s == nil {
		s = new(score)
		p.scores[name] = s
	}
	s.total++
	if ok {
		s.ok++
	}
}

// wantTotal prints the scores and wants every change of every program to be there, and nothing else.
func (p *proof) wantTotal(t *testing.T) {
	t.Helper()
	var table strings.Builder
	for _, name := range slices.Sorted(maps.Keys(p.scores)) {
		fmt.Fprintf(&table, "\n%-36s %d/%d", name, p.scores[name].ok, p.scores[name].total)
	}
	n := uint64(len(p.tickets))
	t.Logf("base %#x, %d attached%s", p.Base(), n, table.String())
	slices.Sort(p.tickets)
	for i, ticket := range p.tickets {
		if ticket != uint64(i+1) {
			t.Errorf("ticket %d is %d: an increment was lost or made twice", i+1, ticket)
			break
		}
	}
	if came, work, left := p.board.Came.Load(), p.board.Work.Load(), p.board.Left.Load(); came != n || work != n*workEach || left != n {
		t.Errorf("%d came, worked %d and %d left, want %d, %d, %[4]d", came, work, left, n, n*workEach)
	}
	for _, problem := range p.alloc.Check().Problems {
		t.Error("check: ", problem)
	}
	if stats, err := p.alloc.Stats(); err != nil || stats.Live != 1 {
		t.Errorf("%d blocks are in use, want 1, %v", stats.Live, err)
	}
}

// output runs a command that must succeed and returns what it prints.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, text)
	}
	return strings.TrimSpace(string(text))
}
