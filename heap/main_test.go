package heap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/probe"
)

// programs are what tests of this package run in processes of their own.
var programs = map[string]func() error{"peer": runPeer}

func TestMain(m *testing.M) { shmtest.Main(m, programs) }

// testSize is small, so that a test is quick, and has an odd number of granules.
const testSize = 8<<20 + layout.GranuleSize

// newOptions returns the options for heaps in a private directory of the test, which Create makes.
func newOptions(t testing.TB) *Options {
	t.Helper()
	return &Options{Dir: filepath.Join(t.TempDir(), "heaps"), Size: testSize, MaxPeers: 16, MaxRoots: 8, MaxCaches: 64}
}

func mustCreate(t testing.TB, name string, o *Options) *Heap {
	t.Helper()
	h, err := Create(name, o)
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, h)
	return h
}

func mustOpen(t testing.TB, name string, o *Options) *Heap {
	t.Helper()
	h, err := Open(name, o)
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, h)
	return h
}

// closeAtEnd checks the heap when the test ends, and closes it, if the test has not.
func closeAtEnd(t testing.TB, h *Heap) {
	t.Cleanup(func() {
		if h.enter() != nil {
			return
		}
		h.leave()
		if err := h.Check().Err(); err != nil && !t.Failed() && !expectsDamage(t) {
			t.Error(err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}

// damaging holds the names of the tests that damage their heap.
var damaging sync.Map

// damages says that the test will leave its heap damaged.
func damages(t testing.TB) { damaging.Store(t.Name(), true) }

func expectsDamage(t testing.TB) bool {
	_, ok := damaging.Load(t.Name())
	return ok
}

// data returns the offset of the n-th word of the data.
func data(h *Heap, n uint64) uint64 { return h.geometry.Sections.Data + 8*n }

// wantError fails the test unless err matches target.
func wantError(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: error %v, want %v", what, err, target)
	}
}

// sentinels are the errors by name, so that a child can tell which one it got.
var sentinels = map[string]error{
	"ErrExist": ErrExist, "ErrNotExist": ErrNotExist, "ErrOpen": ErrOpen, "ErrInUse": ErrInUse,
	"ErrPermission": ErrPermission, "ErrInsecure": ErrInsecure, "ErrCorrupt": ErrCorrupt,
	"ErrVersion": ErrVersion, "ErrNotReady": ErrNotReady, "ErrNoSpace": ErrNoSpace, "ErrClosed": ErrClosed,
	"ErrBusy": ErrBusy, "ErrName": ErrName, "ErrSize": ErrSize, "ErrTooManyPeers": ErrTooManyPeers,
	"ErrNoRoot": ErrNoRoot, "ErrRootType": ErrRootType, "ErrTooManyRoots": ErrTooManyRoots, "ErrOffset": ErrOffset,
	"probe.ErrTaken": probe.ErrTaken, "probe.ErrBeyond": probe.ErrBeyond, "probe.ErrUnaligned": probe.ErrUnaligned,
	"probe.ErrRefused": probe.ErrRefused, "probe.ErrNoMemory": probe.ErrNoMemory,
}

// classify returns the names of the sentinels that err matches, or "other: " and its text.
func classify(err error) string {
	if err == nil {
		return "ok"
	}
	var names []string
	for name, target := range sentinels {
		if errors.Is(err, target) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "other: " + err.Error()
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// peer is another process that works on heaps as it is told: see runPeer.
type peer struct{ *shmtest.Process }

func startPeer(t testing.TB, o *Options) peer {
	t.Helper()
	return peer{shmtest.Start(t, "peer", o.Dir)}
}

// openPeer starts a process and makes it open the heap.
func openPeer(t testing.TB, name string, o *Options) peer {
	t.Helper()
	p := startPeer(t, o)
	p.mustDo(t, "open", name)
	return p
}

// do makes the process execute a command and returns its answer.
func (p peer) do(words ...any) string {
	return p.Ask(strings.TrimSuffix(fmt.Sprintln(words...), "\n"))
}

// mustDo is do for a command that answers "ok" and results, which it returns.
func (p peer) mustDo(t testing.TB, words ...any) []string {
	t.Helper()
	answer := p.do(words...)
	results, ok := strings.CutPrefix(answer, "ok")
	if !ok {
		t.Fatalf("process %d: %v: %s", p.PID(), words, answer)
	}
	return strings.Fields(results)
}

// id returns the peer id of the heap that the process has opened.
func (p peer) id(t testing.TB) PeerID {
	t.Helper()
	n, err := strconv.ParseUint(p.mustDo(t, "peer")[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return PeerID(n)
}

// runPeer executes the commands that it hears, and answers each with one line.
func runPeer() error {
	s := &session{options: Options{Dir: os.Args[1], Size: testSize, MaxPeers: 16, MaxRoots: 8, MaxCaches: 64}}
	for {
		words := strings.Fields(shmtest.Listen())
		results, err := s.execute(words[0], words[1:])
		fmt.Println(append([]any{classify(err)}, results...)...)
	}
}

// session is the state of a peer process.
type session struct {
	options Options
	heap    *Heap
}

func (s *session) execute(command string, args []string) (results []any, err error) {
	switch command {
	case "create":
		s.heap, err = Create(args[0], &s.options)
	case "create-path":
		o := s.options
		o.Path = args[1]
		s.heap, err = Create(args[0], &o)
	case "kernel":
		s.options.Kernel = standInFor(&s.options)
	case "open":
		s.heap, err = Open(args[0], &s.options)
	case "open-descriptor":
		s.heap, err = OpenFile(os.NewFile(3, "descriptor"), nil)
	case "open-portable":
		if s.heap, err = Open(args[0], &s.options); err == nil {
			portable(s.heap)
		}
	case "attach": // for a moment, with a mapping of its own kind: this process keeps the one it has
		var other *Heap
		if other, err = attachAgain(s.heap); err == nil {
			other.detach()
			err = other.file.Close()
		}
	case "remove":
		err = Remove(args[0], &s.options)
	case "exit":
		os.Exit(0)
	default:
		return s.executeOpen(command, args)
	}
	return nil, err
}

// executeOpen executes the commands that need an open heap.
func (s *session) executeOpen(command string, args []string) (results []any, err error) {
	h, n := s.heap, numbers(args)
	switch command {
	case "close":
		err = h.Close()
	case "peer":
		results = []any{uint64(h.Peer())}
	case "base":
		results = []any{h.Base()}
	case "add":
		results = []any{h.Memory().Word(n[0]).Add(n[1])}
	case "commit":
		err = h.Commit(n[0], n[1])
	case "churn":
		err = churn(h, n[0])
	case "stamp":
		err = stamp(h, n[0])
	case "store":
		err = h.StoreRoot(Root{Name: args[0], Offset: n[1], Type: Fingerprint(n[2])})
	case "load":
		var r Root
		r, err = h.LoadRoot(args[0])
		results = []any{r.Offset, uint64(r.Type)}
	case "delete":
		err = h.DeleteRoot(args[0])
	case "race":
		results, err = raceForRoots(h, args[0], n[1])
	case "release-dead":
		err = h.ReleaseDead()
	case "check":
		err = h.Check().Err()
	default:
		err = fmt.Errorf("unknown command %q", command)
	}
	return results, err
}

// attachAgain takes another slot in the table of a heap that is open, with a description of its own.
func attachAgain(h *Heap) (*Heap, error) {
	f, err := h.File()
	if err != nil {
		return nil, err
	}
	other := &Heap{file: f, peers: h.peers}
	if err := other.attach(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return other, nil
}

// numbers reads those of the words that are numbers.
func numbers(words []string) []uint64 {
	n := make([]uint64, len(words))
	for i, word := range words {
		n[i], _ = strconv.ParseUint(word, 0, 64)
	}
	return n
}
