package heap

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/probe"
)

// standIn is a Kernel for tests of what this package does with one. Its regions are files in a directory, of
// which the tests of real ones, in tests/kernel, know nothing.
type standIn struct {
	dir  string
	fail map[string]error // what to fail with, by method
}

// standInFor returns the stand-in for heaps of these options, in whatever process.
func standInFor(o *Options) *standIn { return &standIn{dir: o.Dir + "-regions"} }

func (*standIn) Kind() string { return "standin" }

func (*standIn) Limits() KernelLimits { return KernelLimits{MaxSize: 2 << 30, Within: 4 << 30} }

func (k *standIn) Locate(s KernelSpec) (string, error) {
	if s.Name == "" {
		return "", nil
	}
	return filepath.Join(k.dir, s.Name+"-"+s.ID), k.fail["Locate"]
}

func (k *standIn) Create(s KernelSpec) (KernelRegion, error) {
	if err := k.fail["Create"]; err != nil {
		return nil, err
	}
	f, err := sys.Anonymous("standin", int64(s.Size))
	if s.Locator != "" {
		if err := os.MkdirAll(k.dir, 0o700); err != nil {
			return nil, err
		}
		if f, err = os.OpenFile(s.Locator, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			err = f.Truncate(int64(s.Size))
		}
	}
	return &standInRegion{f, k}, err
}

func (k *standIn) Open(s KernelSpec) (KernelRegion, error) {
	f, err := os.OpenFile(s.Locator, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w: %w", ErrKernelGone, err)
	}
	if err != nil {
		return nil, err
	}
	return &standInRegion{f, k}, nil
}

func (k *standIn) Remove(locator string) error {
	if err := os.Remove(locator); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

type standInRegion struct {
	file   *os.File
	kernel *standIn
}

func (r *standInRegion) File() *os.File { return r.file }
func (r *standInRegion) Close() error   { return r.file.Close() }

func (r *standInRegion) Commit(off, n uint64) error {
	if err := r.kernel.fail["Commit"]; err != nil {
		return err
	}
	return sys.Allocate(r.file, int64(off), int64(n))
}

func (r *standInRegion) Decommit(off, n uint64) error {
	return sys.PunchHole(r.file, int64(off), int64(n))
}

// newKernelOptions returns the options for heaps that the stand-in keeps.
func newKernelOptions(t testing.TB) (*Options, *standIn) {
	o := newOptions(t)
	k := standInFor(o)
	o.Kernel = k
	return o, k
}

// regions returns what the stand-in keeps.
func (k *standIn) regions(t testing.TB) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(k.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestKernelHeap: a heap whose pages are not its file's, from two processes.
func TestKernelHeap(t *testing.T) {
	o, k := newKernelOptions(t)
	h := mustCreate(t, "a", o)
	if len(k.regions(t)) != 1 || h.Kernel() == nil {
		t.Fatalf("regions %v", k.regions(t))
	}
	mustStore(t, h, Root{Name: "r", Offset: data(h, 3), Type: 7})
	p := startPeer(t, o)
	p.mustDo(t, "kernel")
	p.mustDo(t, "open", "a")
	if got := p.mustDo(t, "load", "r"); got[0] != fmt.Sprint(data(h, 3)) {
		t.Errorf("root %v", got)
	}
	first := h.geometry.Sections.Data
	p.mustDo(t, "commit", first, layout.GranuleSize)
	p.mustDo(t, "add", first, 5)
	if got := h.memory.Word(first).Load(); got != 5 || !h.IsCommitted(first) {
		t.Errorf("word %d, committed %t", got, h.IsCommitted(first))
	}
	if err := h.Decommit(first, layout.GranuleSize); err != nil {
		t.Fatal(err)
	}
	if err := h.Commit(first, 1); err != nil || h.memory.Word(first).Load() != 0 {
		t.Errorf("after giving storage back: %d, %v", h.memory.Word(first).Load(), err)
	}
	st, err := sys.Stat(h.file)
	if err != nil || st.Allocated > max(64<<10, 2*int64(os.Getpagesize())) { // a page of the superblock, and one of words to wait at
		t.Errorf("the side file has %d bytes, %v", st.Allocated, err)
	}
	id := p.id(t)
	p.Kill()
	if alive, err := h.Alive(id); alive || err != nil {
		t.Errorf("alive %t, %v", alive, err)
	}
}

// TestKernelStat: what is to be known of the heap without its Kernel.
func TestKernelStat(t *testing.T) {
	o, _ := newKernelOptions(t)
	h := mustCreate(t, "a", o)
	plain := *o
	plain.Kernel = nil
	info, err := Stat("a", &plain)
	if err != nil || info.Kernel != "standin" || info.Peers != 1 || info.Base != h.Base() || info.ID != h.ID() {
		t.Errorf("%+v, %v", info, err)
	}
	list, err := List(&plain)
	if err != nil || len(list) != 1 || list[0].Err != nil || list[0].Kernel != "standin" {
		t.Errorf("%+v, %v", list, err)
	}
	e, err := Explain("a", 0, &plain)
	if err != nil || !e.Attached || len(e.Peers) != 1 || e.Peers[0].PID != os.Getpid() {
		t.Errorf("%+v, %v", e, err)
	}
	if info, err := h.Info(); err != nil || info.Committed == 0 {
		t.Errorf("%+v, %v", info, err)
	}
}

// TestKernelError: who comes without the Kernel is told which one.
func TestKernelError(t *testing.T) {
	o, k := newKernelOptions(t)
	mustCreate(t, "a", o).Close()
	plain := *o
	plain.Kernel = nil
	_, err := Open("a", &plain)
	e, ok := errors.AsType[*KernelError](err)
	if !ok || e.Kind != "standin" || !strings.HasPrefix(e.Locator, k.dir) || !errors.Is(err, ErrKernel) {
		t.Errorf("open: %v", err)
	}
	wantError(t, "remove", Remove("a", &plain), ErrKernel)
	plain.Kernel = otherKind{k}
	_, err = Open("a", &plain)
	wantError(t, "open by another", err, ErrKernel)
	if e, _ := errors.AsType[*KernelError](err); e == nil || e.Given != "other" {
		t.Errorf("open by another: %v", err)
	}
	if err := Remove("a", o); err != nil || len(k.regions(t)) != 0 {
		t.Errorf("remove: %v, left %v", err, k.regions(t))
	}
}

type otherKind struct{ *standIn }

func (otherKind) Kind() string { return "other" }

// TestKernelLimits: what a Kernel cannot keep is refused before it is asked to.
func TestKernelLimits(t *testing.T) {
	o, k := newKernelOptions(t)
	o.Size = 2<<30 + layout.GranuleSize
	_, err := Create("a", o)
	wantError(t, "size", err, ErrSize)
	o.Size = 2 << 30
	base := mustCreate(t, "b", o).Base() // where there is room
	if base/(4<<30) != (base+o.Size-1)/(4<<30) {
		t.Errorf("base %#x crosses", base)
	}
	o.Base = base&^(4<<30-1) + 3<<30
	_, err = Create("c", o)
	wantError(t, "base", err, ErrSize)
	if len(k.regions(t)) != 1 {
		t.Errorf("left %v", k.regions(t))
	}
}

// TestKernelFails: an error of the Kernel leaves nothing behind.
func TestKernelFails(t *testing.T) {
	broken := errors.New("broken")
	for _, method := range []string{"Locate", "Create", "Commit"} {
		t.Run(method, func(t *testing.T) {
			o, k := newKernelOptions(t)
			k.fail = map[string]error{method: broken}
			_, err := Create("a", o)
			wantError(t, "create", err, broken)
			left, err := os.ReadDir(o.Dir)
			if err != nil || len(left) != 0 || len(k.regions(t)) != 0 {
				t.Errorf("left %v, %v, regions %v", left, err, k.regions(t))
			}
		})
	}
	o, k := newKernelOptions(t)
	h := mustCreate(t, "a", o)
	first, before := h.geometry.Sections.Data, h.Committed()
	k.fail = map[string]error{"Commit": ErrNoSpace}
	wantError(t, "commit", h.Commit(first, layout.GranuleSize), ErrNoSpace)
	if h.Committed() != before {
		t.Errorf("%d bytes committed, before %d", h.Committed(), before)
	}
}

// TestKernelRegionOfAnother: the pages must be those that the side file speaks of.
func TestKernelRegionOfAnother(t *testing.T) {
	o, k := newKernelOptions(t)
	a := mustCreate(t, "a", o)
	o.Base = a.Base()
	name := k.regions(t)[0]
	a.Close()
	b := mustCreate(t, "b", o)
	other := b.geometry.locator
	b.Close()
	if err := os.Rename(other, name); err != nil {
		t.Fatal(err)
	}
	_, err := Open("a", o)
	wantError(t, "open with the pages of another", err, ErrCorrupt)
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, testSize); err != nil {
		t.Fatal(err)
	}
	_, err = Open("a", o)
	wantError(t, "open with empty pages", err, ErrNotReady)
	_, err = Open("b", o)
	wantError(t, "open without pages", err, ErrKernelGone)
	if err := errors.Join(Remove("a", o), Remove("b", o)); err != nil || len(k.regions(t)) != 0 {
		t.Errorf("%v, left %v", err, k.regions(t))
	}
}

// TestKernelSideFile: a side file that does not say what it must is refused.
func TestKernelSideFile(t *testing.T) {
	o, _ := newKernelOptions(t)
	h := mustCreate(t, "a", o)
	path := h.Path()
	h.Close()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	good = good[:layout.SuperblockSize]
	for name, damage := range map[string]func(*layout.Superblock){
		"magic of a region": func(sb *layout.Superblock) { sb.Magic = layout.Magic },
		"no backing":        func(sb *layout.Superblock) { sb.Backing = [layout.BackingSize]byte{} },
		"nothing at all": func(sb *layout.Superblock) {
			sb.Backing, sb.Locator = [layout.BackingSize]byte{}, [layout.LocatorSize]byte{}
		},
		"not terminated":    func(sb *layout.Superblock) { fillAll(sb.Locator[:]) },
		"control character": func(sb *layout.Superblock) { sb.Locator[0] = '\n' },
	} {
		page := slices.Clone(good)
		damage(mem.View[layout.Superblock](mem.Over(page), 0))
		setChecksum(page)
		if err := os.WriteFile(path, page, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, testSize); err != nil {
			t.Fatal(err)
		}
		_, err := Open("a", o)
		wantError(t, name, err, ErrCorrupt)
	}
}

func fillAll(b []byte) {
	for i := range b {
		b[i] = 'x'
	}
}

// TestKernelAnonymous: a heap without a name is opened by its two descriptors.
func TestKernelAnonymous(t *testing.T) {
	o, k := newKernelOptions(t)
	h, err := CreateAnonymous(o)
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, h)
	if h.geometry.locator != "" || len(k.regions(t)) != 0 {
		t.Errorf("locator %q", h.geometry.locator)
	}
	f, err := h.KernelFile()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a, errA := sys.Stat(f)
	b, errB := sys.Stat(h.region.File())
	if errA != nil || errB != nil || !a.Same(b) {
		t.Errorf("descriptor of another region: %v, %v", errA, errB)
	}
	if _, err := mustCreate(t, "file", newOptions(t)).KernelFile(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("of a file: %v", err)
	}
}

// TestKernelTaken: what is in the way is told like that of a file.
func TestKernelTaken(t *testing.T) {
	o, _ := newKernelOptions(t)
	h := mustCreate(t, "a", o)
	base := h.Base()
	h.Close()
	r, err := probe.Reserve(base, probe.Guard)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	_, err = Open("a", o)
	if _, ok := errors.AsType[*ConflictError](err); !ok {
		t.Errorf("open: %v", err)
	}
}

// TestSweepOfAFinishedHeap: who sweeps while a creator finishes has opened a file that is a heap's by the time it may be
// swept, and its region stays.
func TestSweepOfAFinishedHeap(t *testing.T) {
	o, k := newKernelOptions(t)
	h := mustCreate(t, "a", o)
	dir, err := sys.OpenDir(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	f, err := h.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const temporary = ".a.heap.ABCDEFGH.new"
	sweepDead(dir, location{dir: o.Dir, file: "b.heap", private: true}, temporary, f, k) // renamed
	if err := os.Link(h.Path(), filepath.Join(o.Dir, temporary)); err != nil {
		t.Fatal(err)
	}
	if _, err := List(o); err != nil { // killed between the link and the unlink
		t.Fatal(err)
	}
	wantFiles(t, o.Dir, "a.heap")
	if len(k.regions(t)) != 1 {
		t.Error("the region of a heap was swept away")
	}
}

// TestForgottenHeap: a heap that is open and that no variable leads to is not given up, as pointers may lead into it.
func TestForgottenHeap(t *testing.T) {
	o, _ := newKernelOptions(t)
	if err := mustCreate(t, "a", o).Close(); err != nil {
		t.Fatal(err)
	}
	forget(t, "a", o)
	for range 20 {
		runtime.GC()
	}
	wantError(t, "remove while a reader is there", Remove("a", o), ErrInUse)
}

// forget opens a heap for reading alone, and lets no variable lead to it. What it has mapped is not the file that has the
// locks.
func forget(t *testing.T, name string, o *Options) {
	h, err := OpenReadOnly(name, o)
	if err != nil {
		t.Fatal(err)
	}
	path := h.path
	t.Cleanup(func() {
		for _, h := range maps.Clone(opened.files) {
			if h.path == path && h.Close() != nil {
				t.Error("a forgotten heap cannot be closed")
			}
		}
	})
}
