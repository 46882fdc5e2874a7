package heap

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/probe"
)

// TestCreateOpenReopen takes a heap through its life, in this process and in another.
func TestCreateOpenReopen(t *testing.T) {
	o := newOptions(t)
	h := mustCreate(t, "orders", o)
	if h.Name() != "orders" || h.Size() != testSize || h.Path() != filepath.Join(o.Dir, "orders.heap") || len(h.ID()) != 32 {
		t.Errorf("heap %q of %d bytes at %s, id %s", h.Name(), h.Size(), h.Path(), h.ID())
	}
	if err := h.Commit(data(h, 0), 8); err != nil {
		t.Fatal(err)
	}
	word := h.Memory().Word(data(h, 0))
	word.Swap(40)
	base, id := h.Base(), h.ID()

	p := openPeer(t, "orders", o)
	if got := p.mustDo(t, "base")[0]; got != strconv.FormatUint(base, 10) {
		t.Errorf("base %s in the other process, %d here", got, base)
	}
	if got := p.mustDo(t, "add", data(h, 0), 2)[0]; got != "42" || word.Load() != 42 {
		t.Errorf("other process read %s, this one %d", got, word.Load())
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	again := mustOpen(t, "orders", o)
	if again.Base() != base || again.ID() != id || again.Memory().Word(data(again, 0)).Load() != 42 {
		t.Errorf("reopened at %#x with id %s, was %#x and %s", again.Base(), again.ID(), base, id)
	}
	p.mustDo(t, "close")
	p.mustDo(t, "open", "orders")
}

// TestDefaults: the zero Options make a heap in the directory of the environment.
func TestDefaults(t *testing.T) {
	t.Setenv("SHMHEAP_DIR", filepath.Join(t.TempDir(), "heaps"))
	h := mustCreate(t, "a", nil)
	if h.Size() != DefaultSize || len(h.peers) != 1024 || len(h.roots) != 256 || h.geometry.MaxCaches != 4096 {
		t.Errorf("size %d, %d peers, %d roots, %d caches", h.Size(), len(h.peers), len(h.roots), h.geometry.MaxCaches)
	}
	if used := h.Committed(); used > 1<<20 {
		t.Errorf("an empty heap takes %d bytes", used)
	}
	t.Setenv("SHMHEAP_DIR", "")
	if dir, err := privateDir(&Options{}, sharing{}); err != nil || !strings.Contains(dir, "shmheap") {
		t.Errorf("default directory %q, %v", dir, err)
	}
}

func TestFreshHeapChecksClean(t *testing.T) {
	for _, roots := range []uint32{1, 8, 100, 256, 3000} { // put the end of the tables anywhere in a granule
		o := newOptions(t)
		o.MaxRoots = roots
		h := mustCreate(t, "a", o)
		if r := h.Check(); len(r.Problems)+len(r.Notes) > 0 {
			t.Errorf("%d roots: %q %q", roots, r.Problems, r.Notes)
		}
	}
}

func TestErrExist(t *testing.T) {
	o := newOptions(t)
	h := mustCreate(t, "a", o)
	_, err := Create("a", o)
	wantError(t, "create what is open here", err, ErrExist)
	p := startPeer(t, o)
	if got := p.do("create", "a"); got != "ErrExist" {
		t.Errorf("create what is open elsewhere: %s", got)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Create("a", o)
	wantError(t, "create what exists", err, ErrExist)
	wantFiles(t, o.Dir, "a.heap")
}

func TestErrOpen(t *testing.T) {
	o := newOptions(t)
	h := mustCreate(t, "a", o)
	_, err := Open("a", o)
	wantError(t, "open by name", err, ErrOpen)
	_, err = Open(h.Path(), o)
	wantError(t, "open by path", err, ErrOpen)
	f, err := h.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = OpenFile(f, nil)
	wantError(t, "open by descriptor", err, ErrOpen)
	if err := os.Link(h.Path(), filepath.Join(o.Dir, "b.heap")); err != nil {
		t.Fatal(err)
	}
	_, err = Open("b", o)
	wantError(t, "open by another name", err, ErrOpen)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, "a", o)
}

func TestErrNotExist(t *testing.T) {
	o := newOptions(t)
	for _, name := range []string{"a", filepath.Join(t.TempDir(), "missing", "a")} { // neither directory exists
		_, err := Open(name, o)
		wantError(t, "open "+name, err, ErrNotExist)
		_, err = Stat(name, o)
		wantError(t, "stat "+name, err, ErrNotExist)
		wantError(t, "remove "+name, Remove(name, o), ErrNotExist)
	}
	mustCreate(t, "a", o)
	_, err := Open("b", o)
	wantError(t, "open", err, ErrNotExist)
	wantError(t, "remove", Remove("b", o), ErrNotExist)
	if _, err := os.Stat(filepath.Join(o.Dir, "b.heap")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open made a file: %v", err)
	}
}

func TestErrName(t *testing.T) {
	o := newOptions(t)
	longest := strings.Repeat("a", layout.NameSize-len(suffix)-1)
	for _, name := range []string{
		"", ".", "..", ".hidden", "-flag", "a b", "a\nb", "a\x00b", "a:b", "a*", "ä", "a\xff", longest + "a",
	} {
		_, err := Create(name, o)
		wantError(t, "create "+strconv.Quote(name), err, ErrName)
		_, err = Open(name, o)
		wantError(t, "open "+strconv.Quote(name), err, ErrName)
		_, err = Stat(name, o)
		wantError(t, "stat "+strconv.Quote(name), err, ErrName)
		wantError(t, "remove "+strconv.Quote(name), Remove(name, o), ErrName)
	}
	for _, name := range []string{"a/b", "../a", "/a"} { // a path is given in Options.Path, with a name
		_, err := Create(name, o)
		wantError(t, "create "+name, err, ErrName)
	}
	for _, name := range []string{"a", "A.b_c-9", "0", longest} {
		h := mustCreate(t, name, o)
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		if again := mustOpen(t, name, o); again.Name() != name {
			t.Errorf("name %q became %q", name, again.Name())
		}
	}
}

func TestErrSize(t *testing.T) {
	for what, change := range map[string]func(*Options){
		"below the least":   func(o *Options) { o.Size = layout.MinSize - layout.GranuleSize },
		"one byte":          func(o *Options) { o.Size = 1 },
		"above the most":    func(o *Options) { o.Size = layout.MaxSize + 1 },
		"rounds to nothing": func(o *Options) { o.Size = ^uint64(0) },
		"all tables":        func(o *Options) { o.Size, o.MaxRoots = layout.MinSize, 1<<16 },
		"too many roots":    func(o *Options) { o.MaxRoots = 1<<16 + 1 },
		"too many peers":    func(o *Options) { o.MaxPeers = layout.MaxPeers + 1 },
		"too many caches":   func(o *Options) { o.MaxCaches = layout.MaxCaches },
	} {
		o := newOptions(t)
		change(o)
		_, err := Create("a", o)
		wantError(t, what, err, ErrSize)
		wantFiles(t, o.Dir)
		_, err = CreateAnonymous(o)
		wantError(t, "anonymous, "+what, err, ErrSize)
	}
	o := newOptions(t)
	o.Size = layout.MinSize + 1
	if h := mustCreate(t, "a", o); h.Size() != layout.MinSize+layout.GranuleSize {
		t.Errorf("size %d, want whole granules", h.Size())
	}
}

// TestRaceToOpen: of the goroutines that open a heap at once one does.
func TestRaceToOpen(t *testing.T) {
	o := newOptions(t)
	if err := mustCreate(t, "a", o).Close(); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		results := make(chan error)
		var opened atomic.Pointer[Heap]
		for range 4 {
			go func() {
				h, err := Open("a", o)
				if err == nil {
					opened.Store(h)
				}
				results <- err
			}()
		}
		wins := 0
		for range 4 {
			if err := <-results; err == nil {
				wins++
			} else {
				wantError(t, "open at once", err, ErrOpen)
			}
		}
		if wins != 1 {
			t.Fatalf("opened %d times", wins)
		}
		if err := opened.Load().Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBase: a base is taken as it is given, and one that cannot be had leaves nothing behind.
func TestBase(t *testing.T) {
	o := newOptions(t)
	h := mustCreate(t, "a", o)
	base := h.Base()

	o.Base = base + layout.GranuleSize
	_, err := Create("b", o)
	wantError(t, "create over another heap", err, probe.ErrTaken)
	if taken, ok := errors.AsType[*probe.TakenError](err); !ok || len(taken.Mappings) == 0 || !strings.Contains(taken.Mappings[0].Path, "a.heap") {
		t.Errorf("the error does not name %s: %v", h.Path(), err)
	}
	o.Base = base + 1
	_, err = Create("b", o)
	wantError(t, "create at an odd base", err, probe.ErrUnaligned)
	o.Base = 1<<63 + base
	if _, err = Create("b", o); err == nil {
		t.Error("created a heap in the kernel's half")
	}
	wantFiles(t, o.Dir, "a.heap")

	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	o.Base = base
	if b := mustCreate(t, "b", o); b.Base() != base {
		t.Errorf("base %#x, want %#x", b.Base(), base)
	}
	_, err = Open("a", o)
	wantError(t, "open where another heap is", err, probe.ErrTaken)
}

// TestPath makes a heap of any name in a directory that is not private.
func TestPath(t *testing.T) {
	o := newOptions(t)
	dir := t.TempDir()
	o.Path = filepath.Join(dir, "orders.shared")
	h := mustCreate(t, "orders", o)
	if h.Path() != o.Path || h.Name() != "orders" {
		t.Errorf("heap %q at %s", h.Name(), h.Path())
	}
	wantFiles(t, dir, "orders.shared")
	wantFiles(t, o.Dir)
	p := openPeer(t, o.Path, o)
	if got := p.do("remove", o.Path); got != "ErrInUse" {
		t.Errorf("remove while open: %s", got)
	}
	p.mustDo(t, "close")
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Create("orders", o)
	wantError(t, "create again", err, ErrExist)
	o.Path = filepath.Join(dir, "missing", "a")
	_, err = Create("orders", o)
	wantError(t, "create in a directory that does not exist", err, ErrNoDirectory)
	if err := Remove(h.Path(), nil); err != nil {
		t.Error(err)
	}
	wantFiles(t, dir)
}

// TestRelativePath: a path is resolved when it is used, and the heap does not depend on the working
// directory afterwards.
func TestRelativePath(t *testing.T) {
	o := newOptions(t)
	dir := t.TempDir()
	t.Chdir(dir)
	o.Path = "a.heap"
	h := mustCreate(t, "a", o)
	if resolved, err := filepath.EvalSymlinks(dir); err != nil || h.Path() != filepath.Join(resolved, "a.heap") && h.Path() != filepath.Join(dir, "a.heap") {
		t.Errorf("path %s, %v", h.Path(), err)
	}
	t.Chdir("/")
	if _, err := Stat(h.Path(), nil); err != nil {
		t.Error(err)
	}
}

// TestSweepLeavesOthersAlone: a heap made at a path must not take away files that look temporary but
// are not its own.
func TestSweepLeavesOthersAlone(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".mail.new", ".a.heap.new", ".a.heap.backup.new", ".other.heap.ABCDEFGH.new"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := newOptions(t)
	o.Path = filepath.Join(dir, "a.heap")
	mustCreate(t, "a", o)
	wantFiles(t, dir, ".a.heap.backup.new", ".a.heap.new", ".mail.new", ".other.heap.ABCDEFGH.new", "a.heap")
}

func TestOpenFileOfNothing(t *testing.T) {
	if _, err := OpenFile(nil, nil); err == nil {
		t.Error("opened a nil file")
	}
	closed, err := os.Create(filepath.Join(t.TempDir(), "a"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = OpenFile(closed, nil)
	wantError(t, "an empty file that all may read", err, ErrInsecure)
	closed.Close()
	if _, err := OpenFile(closed, nil); err == nil {
		t.Error("opened a closed file")
	}
}

// wantFiles fails the test unless exactly these files are in dir. A directory that is missing is empty.
func wantFiles(t testing.TB, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}
