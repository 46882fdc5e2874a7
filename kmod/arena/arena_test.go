package arena_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/kmod/arena"
	"github.com/shmheap/shmheap/kmod/bpf"
	"github.com/shmheap/shmheap/queue"
)

func newOptions(t testing.TB) *heap.Options {
	t.Helper()
	return &heap.Options{
		Dir: filepath.Join(t.TempDir(), "heaps"), Size: 16 << 20, MaxPeers: 16, MaxRoots: 16, MaxCaches: 64,
		Kernel: arena.New(nil),
	}
}

func mustCreate(t testing.TB, name string, o *heap.Options) *heap.Heap {
	t.Helper()
	h, err := heap.Create(name, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil && !errors.Is(err, heap.ErrClosed) {
			t.Error(err)
		}
		if err := heap.Remove(name, o); err != nil && !errors.Is(err, heap.ErrNotExist) {
			t.Error(err)
		}
	})
	return h
}

// needArena skips the test where there can be no arenas: tests/kernel, which runs where this does, sees to it that there are.
func needArena(t testing.TB) {
	t.Helper()
	h, err := heap.CreateAnonymous(&heap.Options{Size: 4 << 20, MaxCaches: 16, Kernel: arena.New(nil)})
	if errors.Is(err, bpf.ErrUnsupported) {
		shmtest.SkipAnywhere(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// TestSupport: what is missing is said in words.
func TestSupport(t *testing.T) {
	_, err := heap.CreateAnonymous(&heap.Options{Size: 4 << 20, MaxCaches: 16, Kernel: arena.New(nil)})
	if err == nil {
		return
	}
	e, ok := errors.AsType[*bpf.SupportError](err)
	if !ok || e.Need == "" || !errors.Is(err, bpf.ErrUnsupported) {
		t.Errorf("no arena, and no word why: %v", err)
	}
}

// TestNames: an arena has its names as long as its heap, in a private directory of a file system for them.
func TestNames(t *testing.T) {
	needArena(t)
	o := newOptions(t)
	h := mustCreate(t, "a.b", o) // a name with a dot, which arenas must not have
	r, err := arena.Of(h)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{filepath.Dir(r.Path()): 0o700, r.Path(): 0o600, r.Path() + "-free": 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if err := errors.Join(h.Close(), heap.Remove("a.b", o)); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(r.Path() + "*"); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	o.Kernel = arena.New(&arena.Options{Dir: t.TempDir()})
	if _, err := heap.Create("a", o); !errors.Is(err, bpf.ErrUnsupported) && !errors.Is(err, heap.ErrInsecure) {
		t.Errorf("in a directory of another file system: %v", err)
	}
}

// TestGone: a heap whose arena is gone says so, and can be removed.
func TestGone(t *testing.T) {
	needArena(t)
	o := newOptions(t)
	h := mustCreate(t, "a", o)
	r, _ := arena.Of(h)
	if err := errors.Join(h.Close(), os.Remove(r.Path())); err != nil {
		t.Fatal(err)
	}
	if _, err := heap.Open("a", o); !errors.Is(err, heap.ErrKernelGone) {
		t.Errorf("open: %v", err)
	}
}

// TestRemoveForeign: the file of a heap may say that its arena is somebody's file, and that is not removed.
func TestRemoveForeign(t *testing.T) {
	k, file := arena.New(nil), filepath.Join(t.TempDir(), "heap-0123")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.Remove(file); !errors.Is(err, heap.ErrCorrupt) {
		t.Errorf("remove a file: %v", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	if err := k.Remove(filepath.Join(filepath.Dir(file), "gone", "heap-0123")); err != nil {
		t.Errorf("remove what is gone: %v", err)
	}
}

// TestOther: what is for arenas refuses a heap in a file, and queues with hands.
func TestOther(t *testing.T) {
	o := newOptions(t)
	o.Kernel = nil
	h := mustCreate(t, "a", o)
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	q, err := queue.Open(a, "q", &queue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := arena.Consumer(h, q, nil); !errors.Is(err, arena.ErrHeap) {
		t.Errorf("a queue in a file: %v", err)
	}
	if _, err := arena.NewCgroupShaper(h, t.TempDir(), 0); !errors.Is(err, arena.ErrHeap) {
		t.Errorf("a shape in a file: %v", err)
	}
	needArena(t)
	a = mustAlloc(t, "b")
	hands, err := queue.OpenHands(a, "hands", 4)
	if err != nil {
		t.Fatal(err)
	}
	if q, err = queue.Open(a, "q", &queue.Options{Hands: hands}); err != nil {
		t.Fatal(err)
	}
	if _, err := arena.Producer(a.Heap(), q, nil); !errors.Is(err, arena.ErrHands) {
		t.Errorf("a queue with hands: %v", err)
	}
}

func mustAlloc(t testing.TB, name string) *alloc.Allocator {
	t.Helper()
	a, err := alloc.Open(mustCreate(t, name, newOptions(t)))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestQueueLayout: the offsets and bits that programs are made with are those of package queue.
func TestQueueLayout(t *testing.T) {
	kind := reflect.TypeFor[queue.Header]()
	for name, want := range arena.QueueOffsets {
		if f, ok := kind.FieldByName(name); !ok || f.Offset != want {
			t.Errorf("%s is at %d, want %d", name, f.Offset, want)
		}
	}
}

// TestLargePages: with pages of 64 KiB an arena is made only in kernels in which that ends well.
func TestLargePages(t *testing.T) {
	for release, want := range map[string]bool{
		"6.9.1": false, "6.12": false, "6.12.16+deb12-arm64-16k": false, "6.12.17-1": true, "6.12.117+deb12": true, "6.13.4": false,
		"6.13.5": true, "6.14.0-rc3": true, "7.0": true, "5.10.300": false, "six": false,
	} {
		if got := arena.RoundsGaps(release); got != want {
			t.Errorf("%s: %t", release, got)
		}
	}
}

// TestDeathTable: the root of the table may be of another, lead out of the heap, or into the middle of a word.
func TestDeathTable(t *testing.T) {
	h, err := heap.CreateAnonymous(&heap.Options{Size: 4 << 20, MaxCaches: 16})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	table, err := arena.DeathTable(a)
	if err != nil {
		t.Fatal(err)
	}
	root, err := h.LoadRoot("arena.deaths")
	if err != nil || root.Offset != table {
		t.Fatalf("%+v, %v", root, err)
	}
	for _, bad := range []uint64{h.Size() - 4096, table + 4} {
		root.Offset = bad
		if err := h.StoreRoot(root); err != nil {
			t.Fatal(err)
		}
		if off, err := arena.DeathTable(a); !errors.Is(err, heap.ErrCorrupt) {
			t.Errorf("table at %#x: %#x, %v", bad, off, err)
		}
	}
	root.Offset, root.Type = table, 1
	if err := errors.Join(h.DeleteRoot(root.Name), h.StoreRoot(root)); err != nil {
		t.Fatal(err)
	}
	if off, err := arena.DeathTable(a); !errors.Is(err, heap.ErrRootType) {
		t.Errorf("of another type: %#x, %v", off, err)
	}
}
