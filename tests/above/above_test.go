package above

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/probe"
)

func TestMain(m *testing.M) {
	shmtest.Main(m, map[string]func() error{"reader": reader, "member": member, "blocked": blocked})
}

const (
	size  = 1 << 30
	nodes = 10_000
)

// node is an element of a list of raw pointers.
type node struct {
	Next *node
	N    uint64
}

// window returns the window above, or ends the test with what is said where there is none.
func window(t *testing.T) probe.Window {
	t.Helper()
	w, err := probe.Above()
	if errors.Is(err, probe.ErrNarrow) {
		shmtest.SkipAnywhere(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestNarrow: a machine without such addresses says so, and makes nothing.
func TestNarrow(t *testing.T) {
	if _, err := probe.Above(); err == nil {
		shmtest.SkipAnywhere(t, "this machine has addresses above the default ones")
	}
	o := &heap.Options{Dir: filepath.Join(t.TempDir(), "heaps"), Above: true}
	if _, err := heap.Create("a", o); !errors.Is(err, probe.ErrNarrow) {
		t.Errorf("create: %v", err)
	}
	if _, err := heap.Join(t.Context(), "a", &heap.JoinOptions{Members: 1, Dir: o.Dir, Above: true}); !errors.Is(err, probe.ErrNarrow) {
		t.Errorf("join: %v", err)
	}
	if _, err := probe.Look(size, &probe.Options{Above: true}); !errors.Is(err, probe.ErrNarrow) {
		t.Errorf("look: %v", err)
	}
	infos, err := heap.List(o)
	if err != nil || len(infos) > 0 {
		t.Errorf("heaps %v, %v", infos, err)
	}
}

// create makes a heap above with a list in it.
func create(t *testing.T, dir string) *heap.Heap {
	t.Helper()
	h, err := heap.Create("a", &heap.Options{Dir: dir, Size: size, Above: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func fill(t *testing.T, h *heap.Heap) {
	t.Helper()
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var first *node
	for n := range uint64(nodes) {
		next, err := alloc.New[node](a)
		if err != nil {
			t.Fatal(err)
		}
		next.Next, next.N, first = first, n, next
	}
	if err := alloc.StoreRoot(a, "list", first); err != nil {
		t.Fatal(err)
	}
	runtime.GC() // meets the pointers on this stack
	if report := a.Check(); report.Err() != nil {
		t.Error(report.Err())
	}
}

// TestShared: raw pointers above are the same in another process.
func TestShared(t *testing.T) {
	w := window(t)
	dir := filepath.Join(t.TempDir(), "heaps")
	h := create(t, dir)
	if !w.Contains(h.Base()) || h.Base() < 1<<48 {
		t.Errorf("base %#x is not in %v", h.Base(), w.Range)
	}
	t.Logf("base %#x, window %v", h.Base(), w.Range)
	fill(t, h)
	p := shmtest.Start(t, "reader", dir)
	p.Want(fmt.Sprintf("%#x: sum %d", h.Base(), nodes*(nodes-1)/2))
	p.Succeed()
}

// reader walks the list of another process, while its collector runs.
func reader() error {
	h, err := heap.Open("a", &heap.Options{Dir: os.Args[1]})
	if err != nil {
		return err
	}
	a, err := alloc.Open(h)
	if err != nil {
		return err
	}
	first, err := alloc.LoadRoot[node](a, "list")
	if err != nil {
		return err
	}
	sum := uint64(0)
	for n := first; n != nil; n = n.Next {
		if sum += n.N; n.N%1000 == 0 {
			runtime.GC()
		}
	}
	fmt.Printf("%#x: sum %d\n", h.Base(), sum)
	return errors.Join(a.Close(), h.Close())
}

// TestConflict: somebody who has the range is told what is in the way, as below.
func TestConflict(t *testing.T) {
	window(t)
	dir := filepath.Join(t.TempDir(), "heaps")
	h := create(t, dir)
	p := shmtest.Start(t, "blocked", dir, strconv.FormatUint(h.Base(), 10))
	text := p.Hear()
	for _, part := range []string{fmt.Sprintf("%#x", h.Base()), "reserved range", "1 peer is attached at that base"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q lacks %q", text, part)
		}
	}
}

func blocked() error {
	base, err := strconv.ParseUint(os.Args[2], 10, 64)
	if err != nil {
		return err
	}
	r, err := probe.Reserve(base, size)
	if err != nil {
		return err
	}
	defer r.Release()
	_, err = heap.Open("a", &heap.Options{Dir: os.Args[1]})
	if _, ok := errors.AsType[*heap.ConflictError](err); !ok {
		return fmt.Errorf("opened over a reservation: %w", err)
	}
	fmt.Println(err)
	return nil
}

// TestJoin: processes agree on a base above.
func TestJoin(t *testing.T) {
	w := window(t)
	dir := filepath.Join(t.TempDir(), "heaps")
	var all []*shmtest.Process
	for range 3 {
		all = append(all, shmtest.Start(t, "member", dir))
	}
	var base string
	for _, p := range all {
		got := p.Hear()
		if base == "" {
			base = got
		}
		if n, err := strconv.ParseUint(got, 0, 64); err != nil || !w.Contains(n) || got != base {
			t.Errorf("base %s, the first %s, want one in %v", got, base, w.Range)
		}
	}
}

func member() error {
	ctx, cancel := context.WithTimeout(context.Background(), shmtest.Patience)
	defer cancel()
	h, err := heap.Join(ctx, "j", &heap.JoinOptions{Members: 3, Size: size, Dir: os.Args[1], Above: true})
	if err != nil {
		return err
	}
	fmt.Printf("%#x\n", h.Base())
	shmtest.Listen()
	return h.Close()
}

// TestCommand: the same on the command line, with a launched program.
func TestCommand(t *testing.T) {
	window(t)
	dir := filepath.Join(t.TempDir(), "heaps")
	shmheap := program(t)
	run := func(status int, args ...string) string {
		t.Helper()
		out, err := exec.Command(shmheap, append([]string{"--dir", dir}, args...)...).CombinedOutput()
		exit, _ := errors.AsType[*exec.ExitError](err)
		if err != nil && exit == nil || exit != nil && exit.ExitCode() != status || exit == nil && status != 0 {
			t.Fatalf("shmheap %v: %v, want status %d\n%s", args, err, status, out)
		}
		return string(out)
	}
	if out := run(0, "probe", "--above"); !strings.Contains(out, "above") {
		t.Errorf("probe: %s", out)
	}
	run(0, "init", "a", "--above")
	info, err := heap.Stat("a", &heap.Options{Dir: dir})
	if err != nil || info.Base < 1<<48 {
		t.Fatalf("%+v, %v", info, err)
	}
	run(0, "check", "a")
	maps, err := exec.Command(shmheap, "--dir", dir, "run", "a", "--require", "--", "cat", "/proc/self/maps").Output()
	if want := fmt.Sprintf("%x-%x ---p", info.Base, info.Base+info.Size); err != nil || !bytes.Contains(maps, []byte(want)) {
		t.Errorf("no %s, %v, in\n%s", want, err, maps)
	}
	run(0, "run", "a", "--require", "--", shmheap, "--dir", dir, "check", "a") // takes the reservation over
	if out := run(1, "stamp", "--heap", "a", shmheap, "-o", filepath.Join(dir, "stamped")); !strings.Contains(out, "brk") {
		t.Errorf("stamp: %s", out)
	}
	svg := filepath.Join(t.TempDir(), "picture.svg")
	run(0, "probe", "--above", "--svg", svg)
	if picture, err := os.ReadFile(svg); err != nil || !bytes.Contains(picture, []byte("above")) {
		t.Errorf("picture: %v", err)
	}
}

// program returns the command, built here unless it was built elsewhere.
func program(t *testing.T) string {
	t.Helper()
	if dir := shmtest.Programs(); dir != "" {
		return filepath.Join(dir, "shmheap")
	}
	out := filepath.Join(t.TempDir(), "shmheap")
	if text, err := exec.Command("go", "build", "-o", out, "github.com/shmheap/shmheap/cmd/shmheap").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return out
}
