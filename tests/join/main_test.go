package join

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/probe"
)

func TestMain(m *testing.M) {
	shmtest.Main(m, map[string]func() error{"member": member})
}

const size = 8 << 20

// member does what the lines that it hears say, and answers each with one line.
func member() error {
	s := session{dir: os.Args[1]}
	for {
		words := strings.Fields(shmtest.Listen())
		answer, err := s.do(words[0], words[1:])
		if err != nil {
			answer = describe(err)
		}
		fmt.Println(strings.ReplaceAll(answer, "\n", " "))
	}
}

// describe names the errors that tests look for, and quotes the text.
func describe(err error) string {
	var names []string
	if errors.Is(err, context.DeadlineExceeded) {
		names = append(names, "deadline")
	}
	if errors.Is(err, heap.ErrNoAgreement) {
		names = append(names, "no-agreement")
	}
	if conflict, ok := errors.AsType[*heap.ConflictError](err); ok {
		names = append(names, fmt.Sprintf("conflict-with-%d-peers", len(conflict.Peers)))
	}
	return fmt.Sprintf("error %s: %v", strings.Join(names, ","), err)
}

// session is one member: what it has blocked and joined.
type session struct {
	dir  string
	heap *heap.Heap
}

// commands are those that not every system has.
var commands = map[string]func(s *session, args []string) (string, error){}

func (s *session) do(command string, args []string) (string, error) {
	switch command {
	case "block": // START SIZE
		_, err := probe.Reserve(number(args[0]), number(args[1]))
		return "blocked", err
	case "join": // NAME MEMBERS SECONDS [SIZE]
		o := heap.JoinOptions{Members: int(number(args[1])), Size: size, Dir: s.dir}
		if len(args) > 3 {
			o.Size = number(args[3])
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(number(args[2]))*time.Second)
		defer cancel()
		var err error
		s.heap, err = heap.Join(ctx, args[0], &o)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("joined %#x", s.heap.Base()), nil
	case "put": // SLOT: leave the address of the slot in the slot, plus this process's id
		off := s.slot(args[0])
		if err := s.heap.Commit(off, 8); err != nil {
			return "", err
		}
		s.heap.Memory().Word(off).Swap(s.heap.Base() + off + uint64(os.Getpid())<<48)
		return "put", nil
	case "get": // SLOT
		return fmt.Sprintf("got %#x", s.heap.Memory().Word(s.slot(args[0])).Load()), nil
	case "check":
		return "clean", s.heap.Check().Err()
	}
	if more := commands[command]; more != nil {
		return more(s, args)
	}
	return "", fmt.Errorf("no command %q", command)
}

// slot returns the offset of the n-th slot of the heap's data.
func (s *session) slot(n string) uint64 { return s.heap.Geometry().Sections.Data + 8*number(n) }

func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		return math.MaxUint64
	}
	return n
}

// group is the members of one test, and the directory where they meet.
type group struct {
	t       testing.TB
	dir     string
	program string // the test binary to run, "" for this one
}

func newGroup(t testing.TB) *group {
	return &group{t: t, dir: filepath.Join(t.TempDir(), "heaps")}
}

// start starts a member.
func (g *group) start(env ...string) *shmtest.Process {
	g.t.Helper()
	cmd := shmtest.Command("member", g.dir)
	if g.program != "" {
		cmd.Path, cmd.Args[0] = g.program, g.program
	}
	cmd.Env = append(cmd.Env, env...)
	return shmtest.StartCommand(g.t, cmd)
}

// joining starts a member that joins the heap a of n members.
func (g *group) joining(n int, env ...string) *shmtest.Process {
	g.t.Helper()
	p := g.start(env...)
	p.Tell(join(n))
	return p
}

func join(n int) string { return fmt.Sprintf("join a %d %d", n, int(shmtest.Patience.Seconds())) }

// listening waits until a coordinator has made its socket.
func (g *group) listening() {
	g.t.Helper()
	shmtest.Until(g.t, "somebody listens", func() bool {
		_, err := os.Lstat(filepath.Join(g.dir, ".a.heap.sock"))
		return err == nil
	})
}

// sameBase waits until all have joined, and returns where.
func sameBase(t testing.TB, all []*shmtest.Process) uint64 {
	t.Helper()
	var base string
	for i, p := range all {
		answer := p.Hear()
		if i == 0 {
			base = answer
		}
		at, ok := strings.CutPrefix(answer, "joined ")
		if !ok || answer != base {
			t.Fatalf("process %d of %d: %s, the first: %s", i, len(all), answer, base)
		}
		if i == len(all)-1 {
			return number(at)
		}
	}
	return 0
}

// shareData makes each leave a word, and all read all.
func shareData(t testing.TB, base uint64, all []*shmtest.Process) {
	t.Helper()
	for i, p := range all {
		p.Tell(fmt.Sprintf("put %d", i))
		p.Want("put")
	}
	for i, writer := range all {
		first := all[0].Ask(fmt.Sprintf("get %d", i))
		value := number(strings.TrimPrefix(first, "got "))
		if pid := value >> 48; pid != uint64(writer.PID())&0xffff || value&(1<<48-1) < base || value&(1<<48-1) >= base+size {
			t.Errorf("slot %d holds %s, base %#x", i, first, base)
		}
		for _, reader := range all[1:] {
			if got := reader.Ask(fmt.Sprintf("get %d", i)); got != first {
				t.Errorf("slot %d: one process %s, another %s", i, first, got)
			}
		}
	}
	all[0].Tell("check")
	all[0].Want("clean")
}

// candidates returns the first n bases that members propose for the heap a.
func candidates(t testing.TB, n int) (bases []uint64) {
	t.Helper()
	for base := range probe.Candidates(size, &probe.Options{Key: heap.BaseKey("a")}) {
		if bases = append(bases, base); len(bases) == n {
			return bases
		}
	}
	t.Fatalf("only %d candidates", len(bases))
	return nil
}

// clean fails the test unless the heap a is all that is left once List has swept.
func (g *group) clean() {
	g.t.Helper()
	infos, err := heap.List(&heap.Options{Dir: g.dir})
	if err != nil || len(infos) != 1 || infos[0].Err != nil {
		g.t.Fatalf("heaps %+v, %v", infos, err)
	}
	entries, err := os.ReadDir(g.dir)
	if err != nil || len(entries) != 1 {
		g.t.Errorf("left are %v, %v", entries, err)
	}
}
