package alloc

import (
	"context"
	"errors"
	"path/filepath"
	"structs"
	"testing"
	"unsafe"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/mem"
)

// link is an element of a list of offsets.
type link struct {
	_ structs.HostLayout

	next, value uint64
}

// offsetHeap makes a heap whose data holds offsets only: a list, a large block, an arena.
func offsetHeap(t *testing.T, o *heap.Options) (base uint64) {
	t.Helper()
	h, err := heap.Create("a", o)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Open(h)
	if err != nil {
		t.Fatal(err)
	}
	var first uint64
	for value := range uint64(1000) {
		l, err := New[link](a)
		if err != nil {
			t.Fatal(err)
		}
		l.next, l.value = first, value
		first, _ = mem.OffsetOf(a.memory, l)
	}
	if err := h.StoreRoot(heap.Root{Name: "list", Offset: first}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Alloc(1 << 20); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	return h.Base()
}

func TestRebase(t *testing.T) {
	o := &heap.Options{Dir: filepath.Join(t.TempDir(), "heaps"), Size: 16 << 20}
	old := offsetHeap(t, o)
	done, err := Rebase(context.Background(), "a", old+1<<30, &RebaseOptions{Heap: o})
	if err != nil || done.From != old || done.To != old+1<<30 || done.Blocks != 1001 || done.Scanned < 1<<20 {
		t.Fatalf("%+v, %v", done, err)
	}
	h, err := heap.Open("a", o)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	a, err := Open(h)
	if err != nil || h.Base() != old+1<<30 {
		t.Fatalf("base %#x, %v", h.Base(), err)
	}
	r, err := h.LoadRoot("list")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for off := r.Offset; off != 0; count++ {
		off = a.memory.Word(off).Load()
	}
	if err := a.Check().Err(); err != nil || count != 1000 {
		t.Errorf("%d links, %v", count, err)
	}
	if _, err := Rebase(context.Background(), "a", old, &RebaseOptions{Heap: o}); !errors.Is(err, heap.ErrInUse) {
		t.Errorf("rebase of a heap in use: %v", err)
	}
}

// TestRebaseRefusesPointers: one raw pointer in a block in use is enough, and one in a freed block is none.
func TestRebaseRefusesPointers(t *testing.T) {
	for _, where := range []uint64{16, 40 << 10, 3 << 20} {
		o := &heap.Options{Dir: filepath.Join(t.TempDir(), "heaps"), Size: 16 << 20}
		old := offsetHeap(t, o)
		address := withPointer(t, o, where)
		_, err := Rebase(context.Background(), "a", old+1<<30, &RebaseOptions{Heap: o})
		found, ok := errors.AsType[*PointerError](err)
		if !ok || !errors.Is(err, ErrPointers) || found.Count != 1 || found.Address != address {
			t.Fatalf("block of %d bytes: %v, want one pointer at %#x", where, err, address)
		}
		if info, err := heap.Stat("a", o); err != nil || info.Base != old {
			t.Errorf("base %#x after a refusal, %v", info.Base, err)
		}
		done, err := Rebase(context.Background(), "a", old+1<<30, &RebaseOptions{Heap: o, Pointers: true, DryRun: true})
		if err != nil || done.Blocks != 1002 {
			t.Errorf("dry run: %+v, %v", done, err)
		}
		if info, err := heap.Stat("a", o); err != nil || info.Base != old {
			t.Errorf("base %#x after a dry run, %v", info.Base, err)
		}
		if _, err := Rebase(context.Background(), "a", old+1<<30, &RebaseOptions{Heap: o, Pointers: true}); err != nil {
			t.Error(err)
		}
	}
}

// withPointer allocates a block of that size whose last word points to another one, beside a freed block that
// does so too, and returns the address of that word.
func withPointer(t *testing.T, o *heap.Options, size uint64) uint64 {
	t.Helper()
	h, err := heap.Open("a", o)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Open(h)
	if err != nil {
		t.Fatal(err)
	}
	r, err := h.LoadRoot("list")
	if err != nil {
		t.Fatal(err)
	}
	var blocks [2]unsafe.Pointer
	var at uint64
	for i := range blocks {
		if blocks[i], err = a.Alloc(size); err != nil {
			t.Fatal(err)
		}
		off, _ := a.memory.Offset(blocks[i])
		at = off + (size-8)&^7
		a.memory.Word(at).StoreRelease(h.Base() + r.Offset)
	}
	if err := a.Free(blocks[0]); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	return h.Base() + at
}
