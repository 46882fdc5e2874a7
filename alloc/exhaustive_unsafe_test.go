package alloc_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
)

// The sizes and orders that the kernel's tests of binder's allocator try are few enough to try all (Linux,
// drivers/android/tests/binder_alloc_kunit.c); so are ours: both sides of every border.

// exhaustiveSizes are the smallest, those around the ends of a word, a class, a slab and a granule.
var exhaustiveSizes = []uint64{0, 16, 17, 1024, layout.MaxSmall, layout.MaxSmall + 1, layout.GranuleSize, 2*layout.GranuleSize + 1}

// handle is a way to use a heap: what allocates and what frees.
type handle struct {
	name  string
	alloc func(size uint64) (unsafe.Pointer, error)
	free  func(unsafe.Pointer) error
}

// TestExhaustive allocates four blocks of every combination of sizes and frees them in every order, by the
// cache that they came from, another, and the allocator. Blocks are aligned, apart and hold what they
// are given, and in the end everything is free.
func TestExhaustive(t *testing.T) {
	a := newExhaustiveHeap(t)
	one, two := newExhaustiveCache(t, a), newExhaustiveCache(t, a)
	orders := permutations(4)
	for _, h := range []handle{
		{"own", one.Alloc, one.Free}, {"other", one.Alloc, two.Free}, {"heap-wide", a.Alloc, a.Free}, {"private", one.AllocPrivate, one.Free},
	} {
		n := 0
		for sizes := range combinations(4, exhaustiveSizes) {
			for _, order := range orders {
				if err := h.try(a, sizes, order); err != nil {
					t.Fatalf("%s: sizes %d, freed in the order %d: %v", h.name, sizes, order, err)
				}
				n++
			}
		}
		wantAllFree(t, a, fmt.Sprintf("%s: %d times", h.name, n))
	}
	for _, c := range []*alloc.Cache{one, two} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Check().Err(); err != nil {
		t.Fatal(err)
	}
}

// TestExhaustiveGranules: when the one cache that there was is closed, every granule is free again, for each
// size alone and for all together, whatever the order.
func TestExhaustiveGranules(t *testing.T) {
	a := newExhaustiveHeap(t)
	before := freeGranules(t, a)
	for sizes := range combinations(3, exhaustiveSizes) {
		for _, order := range permutations(3) {
			c := newExhaustiveCache(t, a)
			h := handle{"own", c.Alloc, c.Free}
			if err := h.try(a, sizes, order); err != nil {
				t.Fatalf("sizes %d, freed in the order %d: %v", sizes, order, err)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if n := freeGranules(t, a); n != before {
				t.Fatalf("sizes %d, freed in the order %d: %d granules are free, %d were", sizes, order, n, before)
			}
		}
	}
}

func newExhaustiveHeap(t *testing.T) *alloc.Allocator {
	t.Helper()
	h, err := heap.CreateAnonymous(&heap.Options{Size: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func newExhaustiveCache(t *testing.T, a *alloc.Allocator) *alloc.Cache {
	t.Helper()
	c, err := a.NewCache()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func freeGranules(t *testing.T, a *alloc.Allocator) uint64 {
	t.Helper()
	s, err := a.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return s.FreeGranules
}

// try allocates blocks of the sizes, marks both ends, and frees them in the order.
func (h handle) try(a *alloc.Allocator, sizes []uint64, order []int) error {
	blocks := make([]exhaustiveBlock, len(sizes))
	for i, size := range sizes {
		p, err := h.alloc(size)
		if err != nil {
			return err
		}
		usable, err := a.UsableSize(p)
		if err != nil || usable < size || uintptr(p)%16 != 0 {
			return fmt.Errorf("block of %d bytes at %p, usable %d: %v", size, p, usable, err)
		}
		blocks[i] = exhaustiveBlock{p, usable, byte(i + 1)}
		blocks[i].mark()
	}
	if err := apartInHeap(blocks); err != nil {
		return err
	}
	for _, i := range order {
		if !blocks[i].marked() {
			return fmt.Errorf("block %d of %d bytes is not what it was", i, sizes[i])
		}
		if err := h.free(blocks[i].p); err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
	}
	return nil
}

// exhaustiveBlock is a block whose first and last byte are marked.
type exhaustiveBlock struct {
	p    unsafe.Pointer
	size uint64
	id   byte
}

func (b exhaustiveBlock) ends() (first, last *byte) {
	return (*byte)(b.p), (*byte)(unsafe.Add(b.p, b.size-1))
}

func (b exhaustiveBlock) mark() {
	first, last := b.ends()
	*first, *last = b.id, b.id
}

func (b exhaustiveBlock) marked() bool {
	first, last := b.ends()
	return *first == b.id && *last == b.id
}

func apartInHeap(blocks []exhaustiveBlock) error {
	sorted := slices.Clone(blocks)
	slices.SortFunc(sorted, func(a, b exhaustiveBlock) int { return cmp.Compare(uintptr(a.p), uintptr(b.p)) })
	for i := 1; i < len(sorted); i++ {
		if uintptr(sorted[i-1].p)+uintptr(sorted[i-1].size) > uintptr(sorted[i].p) {
			return fmt.Errorf("blocks overlap: %+v and %+v", sorted[i-1], sorted[i])
		}
	}
	return nil
}

func wantAllFree(t *testing.T, a *alloc.Allocator, what string) {
	t.Helper()
	s, err := a.Stats()
	if err != nil || s.Live != 0 || s.LiveBytes != 0 {
		t.Fatalf("%s: %+v, %v", what, s, err)
	}
}

// permutations returns all orders of n things.
func permutations(n int) (all [][]int) {
	if n == 0 {
		return [][]int{nil}
	}
	for _, p := range permutations(n - 1) {
		for at := range n {
			all = append(all, slices.Insert(slices.Clone(p), at, n-1))
		}
	}
	return all
}

// combinations yields every sequence of n of the values.
func combinations(n int, values []uint64) func(func([]uint64) bool) {
	return func(yield func([]uint64) bool) {
		at := make([]int, n)
		for {
			chosen := make([]uint64, n)
			for i, v := range at {
				chosen[i] = values[v]
			}
			if !yield(chosen) || !advance(at, len(values)) {
				return
			}
		}
	}
}

// advance counts up in a number system of that base, and reports false behind the last number.
func advance(digits []int, base int) bool {
	for i := range digits {
		if digits[i]++; digits[i] < base {
			return true
		}
		digits[i] = 0
	}
	return false
}
