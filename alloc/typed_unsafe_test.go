package alloc_test

import (
	"errors"
	"path/filepath"
	"strings"
	"structs"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

func newAllocator(t testing.TB, size uint64) *alloc.Allocator {
	t.Helper()
	h, err := heap.Create("test", &heap.Options{Dir: filepath.Join(t.TempDir(), "heaps"), Size: size})
	if err != nil {
		t.Fatal(err)
	}
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Check().Err(); err != nil {
			t.Error(err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

type node struct {
	Next  *node
	Index uint32
	Text  alloc.String
	Peers alloc.Slice[*node]
	Count atomic.Int64
	Head  atomic.Pointer[node]
	Raw   unsafe.Pointer
	Grid  [2][3]float32
	Z     complex64
}

// TestRefusedTypes: what Go's runtime would own is refused with the path to it.
func TestRefusedTypes(t *testing.T) {
	a := newAllocator(t, 16<<20)
	type inner struct{ Deep [3]struct{ Name string } }
	check := func(err error, path string) {
		t.Helper()
		if !errors.Is(err, alloc.ErrType) || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v, want an error about %s", err, path)
		}
	}
	_, err := alloc.New[string](a)
	check(err, "string")
	_, err = alloc.New[struct{ A, B *inner }](a)
	check(err, ".A.Deep[].Name")
	_, err = alloc.New[struct{ M map[int]int }](a)
	check(err, ".M")
	_, err = alloc.New[struct{ F func() }](a)
	check(err, ".F")
	_, err = alloc.New[struct{ E error }](a)
	check(err, ".E")
	_, err = alloc.New[struct{ C chan int }](a)
	check(err, ".C")
	_, err = alloc.New[struct{ V atomic.Value }](a)
	check(err, ".V")
	_, err = alloc.New[struct{ Lock sync.Mutex }](a)
	check(err, ".Lock")
	_, err = alloc.MakeSlice[[]byte](a, 1, 1)
	check(err, "slice")
	check(alloc.StoreRoot[string](a, "x", nil), "string")
	if s, _ := a.Stats(); s.Live != 0 {
		t.Errorf("%d blocks were allocated", s.Live)
	}
}

// TestStoredTypes builds a cyclic structure of raw pointers and takes it apart.
func TestStoredTypes(t *testing.T) {
	a := newAllocator(t, 16<<20)
	n, err := alloc.New[node](a)
	if err != nil {
		t.Fatal(err)
	}
	if n.Text, err = alloc.MakeString(a, "hello, heap"); err != nil {
		t.Fatal(err)
	}
	if n.Peers, err = alloc.MakeSlice[*node](a, 2, 5); err != nil {
		t.Fatal(err)
	}
	n.Next, n.Peers.Slice()[1] = n, n
	n.Head.Store(n)
	if err := alloc.StoreRoot(a, "node", n); err != nil {
		t.Fatal(err)
	}
	m, err := alloc.LoadRoot[node](a, "node")
	if err != nil || m != n || m.Next.Head.Load().Peers.Slice()[1].Text.String() != "hello, heap" {
		t.Fatalf("root leads to %p: %v", m, err)
	}
	if n.Peers.Len() != 2 || n.Peers.Cap() != 5 || n.Text.Len() != 11 || n.Peers.Slice()[0] != nil {
		t.Errorf("lengths: %d of %d, %d", n.Peers.Len(), n.Peers.Cap(), n.Text.Len())
	}
	if err := errors.Join(n.Text.Free(a), n.Peers.Free(a), alloc.Delete(a, n)); err != nil {
		t.Error(err)
	}
	if s, _ := a.Stats(); s.Live != 0 {
		t.Errorf("%d blocks are left", s.Live)
	}
}

// TestRootTypes: a root is opened as the type it was stored as, whatever the type is called, or not.
func TestRootTypes(t *testing.T) {
	a := newAllocator(t, 16<<20)
	type one struct{ A, B uint32 }
	type same struct{ A, B uint32 }
	type other struct {
		A uint32
		B int32
	}
	p, err := alloc.New[one](a)
	if err != nil {
		t.Fatal(err)
	}
	defer alloc.Delete(a, p)
	if err := alloc.StoreRoot(a, "r", p); err != nil {
		t.Fatal(err)
	}
	if q, err := alloc.LoadRoot[same](a, "r"); err != nil || unsafe.Pointer(q) != unsafe.Pointer(p) {
		t.Errorf("as the same structure: %p, %v", q, err)
	}
	if _, err := alloc.LoadRoot[other](a, "r"); !errors.Is(err, heap.ErrRootType) || !strings.Contains(err.Error(), "fields differ") {
		t.Errorf("as another structure: %v", err)
	}
	if err := alloc.StoreRoot[other](a, "r", nil); !errors.Is(err, heap.ErrRootType) {
		t.Errorf("stored as another structure: %v", err)
	}
	if q, loaded, err := alloc.LoadOrStoreRoot[one](a, "r", nil); q != p || !loaded || err != nil {
		t.Errorf("LoadOrStoreRoot: %p, %v, %v", q, loaded, err)
	}
	outside := new(one)
	if err := alloc.StoreRoot(a, "s", outside); !errors.Is(err, alloc.ErrNotInHeap) {
		t.Errorf("a root to Go's memory: %v", err)
	}
	if _, err := alloc.LoadRoot[one](a, "missing"); !errors.Is(err, heap.ErrNoRoot) {
		t.Errorf("a root that is not there: %v", err)
	}
}

// TestFingerprint: a heap that outlives its programs is opened by the next release, so the fingerprint of a type is
// frozen. How package sync/atomic declares its types is Go's to change, and does not count.
func TestFingerprint(t *testing.T) {
	type frozen struct {
		_      structs.HostLayout
		Next   *frozen
		Count  int64
		Flags  [3]uint8
		Name   alloc.String
		Values alloc.Slice[uint32]
	}
	a := newAllocator(t, 16<<20)
	if err := alloc.StoreRoot[frozen](a, "r", nil); err != nil {
		t.Fatal(err)
	}
	r, err := a.Heap().LoadRoot("r")
	if err != nil || r.Type != 0xacc5_42ee_73a6_01d3 {
		t.Errorf("the fingerprint is %#x, %v", uint64(r.Type), err)
	}
}

// TestFingerprintOfAtomics: a type of package sync/atomic is what it holds.
func TestFingerprintOfAtomics(t *testing.T) {
	type plain struct {
		Next  *plain
		Count int64
		Done  uint32
		Rest  uint32
		Where uintptr
		Other [2]int64
	}
	type atomics struct {
		Next  atomic.Pointer[atomics]
		Count atomic.Int64
		Done  atomic.Bool
		Rest  atomic.Uint32
		Where atomic.Uintptr
		Other [2]atomic.Int64
	}
	type wide struct{ Next, Count, Done, Where, Other, More atomic.Uint64 }
	a := newAllocator(t, 16<<20)
	p, err := alloc.New[plain](a)
	if err == nil {
		err = alloc.StoreRoot(a, "r", p)
	}
	if err != nil {
		t.Fatal(err)
	}
	if q, err := alloc.LoadRoot[atomics](a, "r"); err != nil || unsafe.Pointer(q) != unsafe.Pointer(p) {
		t.Errorf("with atomics for what they hold: %p, %v", q, err)
	}
	if _, err := alloc.LoadRoot[wide](a, "r"); !errors.Is(err, heap.ErrRootType) {
		t.Errorf("with other atomics: %v", err)
	}
	if _, err := alloc.New[atomic.Value](a); !errors.Is(err, alloc.ErrType) {
		t.Errorf("an interface in an atomic: %v", err)
	}
}

// TestInto: the exact operations refuse words that they cannot be exact about, and zero what they give.
func TestInto(t *testing.T) {
	a := newAllocator(t, 16<<20)
	c, err := a.NewCache()
	if err != nil {
		t.Fatal(err)
	}
	slots, err := alloc.MakeSlice[unsafe.Pointer](a, 4, 4)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []uint64{40, 40, 100_000} {
		p := &slots.Slice()[0]
		if err := c.AllocInto(p, size); err != nil {
			t.Fatal(err)
		}
		for i, b := range unsafe.Slice((*byte)(*p), size) {
			if b != 0 {
				t.Fatalf("byte %d of %d is not zero", i, size)
			}
		}
		for i := range unsafe.Slice((*byte)(*p), size) {
			unsafe.Slice((*byte)(*p), size)[i] = 0xee
		}
		if err := c.AllocInto(p, size); !errors.Is(err, alloc.ErrOccupied) {
			t.Errorf("into an occupied word: %v", err)
		}
		if err := a.FreeFrom(p); err != nil || *p != nil {
			t.Errorf("FreeFrom left %p: %v", *p, err)
		}
		if err := a.FreeFrom(p); err != nil {
			t.Errorf("FreeFrom of nil: %v", err)
		}
	}
	var outside unsafe.Pointer
	if err := c.AllocInto(&outside, 8); !errors.Is(err, alloc.ErrNotInHeap) || outside != nil {
		t.Errorf("into Go's memory: %v", err)
	}
	if err := c.FreeFrom(&outside); !errors.Is(err, alloc.ErrNotInHeap) {
		t.Errorf("from Go's memory: %v", err)
	}
	if err := errors.Join(slots.Free(a), c.Free(nil)); err != nil {
		t.Error(err)
	}
}

// thief is a source beside which a peer writes over what AllocInto has stored.
type thief struct {
	alloc.Source
	value uint64
}

func (s thief) AllocInto(dst *unsafe.Pointer, size uint64) error {
	err := s.Source.AllocInto(dst, size)
	*(*uint64)(unsafe.Pointer(dst)) = s.value
	return err
}

// TestIntoBesideAThief: what a peer stores in a word in place of a new block's address is neither followed nor returned.
func TestIntoBesideAThief(t *testing.T) {
	a := newAllocator(t, 16<<20)
	n, err := alloc.New[node](a)
	if err != nil {
		t.Fatal(err)
	}
	base := uint64(uintptr(unsafe.Pointer(n))) &^ (1<<16 - 1)
	for _, value := range []uint64{0, 16, 1 << 63, base + 1, base + 16<<20, 0xc000_0000_0000} {
		s := thief{a, value}
		if err := alloc.MakeStringInto(s, &n.Text, "text"); !errors.Is(err, alloc.ErrCorrupt) {
			t.Errorf("%#x: text %v", value, err)
		}
		if p, err := alloc.NewInto(s, &n.Next); p != nil || !errors.Is(err, alloc.ErrCorrupt) {
			t.Errorf("%#x: node %p, %v", value, p, err)
		}
		*(*[2]uint64)(unsafe.Pointer(&n.Text)), *(*uint64)(unsafe.Pointer(&n.Next)) = [2]uint64{}, 0
	}
}

// TestForeignPointers: pointers that never were in the heap are errors.
func TestForeignPointers(t *testing.T) {
	a := newAllocator(t, 16<<20)
	x := new(uint64)
	if err := a.Free(unsafe.Pointer(x)); !errors.Is(err, alloc.ErrNotAllocated) {
		t.Errorf("Go's pointer: %v", err)
	}
	if _, err := a.UsableSize(unsafe.Pointer(x)); !errors.Is(err, alloc.ErrNotAllocated) {
		t.Errorf("size of Go's pointer: %v", err)
	}
	if a.Contains(unsafe.Pointer(x), 1) {
		t.Error("Go's pointer is in the heap")
	}
	if _, err := alloc.MakeSlice[uint64](a, 2, 1); !errors.Is(err, alloc.ErrTooLarge) {
		t.Errorf("capacity below length: %v", err)
	}
	if _, err := alloc.MakeSlice[uint64](a, 1, 1<<62); !errors.Is(err, alloc.ErrTooLarge) {
		t.Errorf("overflowing capacity: %v", err)
	}
}
