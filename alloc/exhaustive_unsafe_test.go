package alloc_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/invariants"
	"github.com/shmheap/shmheap/internal/layout"
)

// The sizes and orders that the kernel's tests of binder's allocator try are few enough to try all (Linux,
// drivers/android/tests/binder_alloc_kunit.c); so are ours: both sides of every border.

// exhaustiveSizes are the smallest, those around the ends of a word, a class, a slab and a granule.
var exhaustiveSizes = []uint64{0, 16, 17, 1024, layout.MaxSmall, layout.MaxSmall + 1, layout.GranuleSize, 2*layout.GranuleSize + 1}

// alignedSizes and alignments are both sides of what a class is aligned to, what a granule is, and more.
var (
	alignedSizes = []uint64{0, 65, 4096, layout.MaxSmall, 2*layout.GranuleSize + 1}
	alignments   = []uint64{1, 32, 4096, layout.GranuleSize, 4 * layout.GranuleSize}
)

// request is what is asked for: a size, and what the address is to be a multiple of.
type request struct{ size, align uint64 }

func requests(sizes, aligns []uint64) (all []request) {
	for _, size := range sizes {
		for _, align := range aligns {
			all = append(all, request{size, align})
		}
	}
	return all
}

// handle is a way to use a heap: what allocates and what frees.
type handle struct {
	name  string
	alloc func(request) (unsafe.Pointer, error)
	free  func(unsafe.Pointer) error
}

// plain is an alloc for blocks that are aligned as all are.
func plain(alloc func(uint64) (unsafe.Pointer, error)) func(request) (unsafe.Pointer, error) {
	return func(r request) (unsafe.Pointer, error) { return alloc(r.size) }
}

func aligned(from alloc.Maker) func(request) (unsafe.Pointer, error) {
	return func(r request) (unsafe.Pointer, error) { return from.AllocAligned(r.size, r.align) }
}

// TestExhaustive allocates four blocks of every combination of sizes and frees them in every order, by the
// cache that they came from, another, and the allocator. Blocks are aligned, apart and hold what they
// are given, and in the end everything is free.
func TestExhaustive(t *testing.T) {
	a := newExhaustiveHeap(t)
	one, two := newExhaustiveCache(t, a), newExhaustiveCache(t, a)
	for _, h := range []handle{
		{"own", plain(one.Alloc), one.Free}, {"other", plain(one.Alloc), two.Free},
		{"heap-wide", plain(a.Alloc), a.Free}, {"private", plain(one.AllocPrivate), one.Free},
	} {
		h.tryAll(t, a, 4, requests(exhaustiveSizes, []uint64{16}))
	}
	closeExhaustive(t, a, one, two)
}

// TestExhaustiveAligned does the same with three blocks of every combination of sizes and alignments.
func TestExhaustiveAligned(t *testing.T) {
	a := newExhaustiveHeap(t)
	one, two := newExhaustiveCache(t, a), newExhaustiveCache(t, a)
	for _, h := range []handle{
		{"own", aligned(one), one.Free}, {"other", aligned(one), two.Free}, {"heap-wide", aligned(a), a.Free},
	} {
		h.tryAll(t, a, 3, requests(alignedSizes, alignments))
	}
	closeExhaustive(t, a, one, two)
}

// TestExhaustiveGranules: when the one cache that there was is closed, every granule is free again, for each
// size alone and for all together, whatever the order, and for pairs of sizes and alignments.
func TestExhaustiveGranules(t *testing.T) {
	a := newExhaustiveHeap(t)
	wantGranulesBack(t, a, 3, requests(exhaustiveSizes, []uint64{16}))
	wantGranulesBack(t, a, 2, requests(alignedSizes, alignments))
}

func wantGranulesBack(t *testing.T, a *alloc.Allocator, n int, from []request) {
	t.Helper()
	before := freeGranules(t, a)
	for wanted := range combinations(n, from) {
		for _, order := range permutations(n) {
			c := newExhaustiveCache(t, a)
			h := handle{"own", aligned(c), c.Free}
			if err := h.try(a, wanted, order); err != nil {
				t.Fatalf("%v, freed in the order %d: %v", wanted, order, err)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if n := freeGranules(t, a); n != before {
				t.Fatalf("%v, freed in the order %d: %d granules are free, %d were", wanted, order, n, before)
			}
		}
	}
}

// tryAll tries every combination of n of the requests in every order.
func (h handle) tryAll(t *testing.T, a *alloc.Allocator, n int, from []request) {
	t.Helper()
	times, orders := 0, permutations(n)
	for wanted := range combinations(n, from) {
		for _, order := range orders {
			if err := h.try(a, wanted, order); err != nil {
				t.Fatalf("%s: %v, freed in the order %d: %v", h.name, wanted, order, err)
			}
			times++
		}
	}
	wantAllFree(t, a, fmt.Sprintf("%s: %d times", h.name, times))
}

func closeExhaustive(t *testing.T, a *alloc.Allocator, caches ...*alloc.Cache) {
	t.Helper()
	for _, c := range caches {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Check().Err(); err != nil {
		t.Fatal(err)
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

// try allocates what is wanted, marks both ends, and frees it in the order.
func (h handle) try(a *alloc.Allocator, wanted []request, order []int) error {
	blocks := make([]exhaustiveBlock, len(wanted))
	for i, r := range wanted {
		if invariants.Enabled {
			r.size = max(r.size, 16) // what is marked, and no more may be
		}
		p, err := h.alloc(r)
		if err != nil {
			return err
		}
		usable, err := a.UsableSize(p)
		if err != nil || usable < r.size || uintptr(p)%16 != 0 || uint64(uintptr(p))%r.align != 0 {
			return fmt.Errorf("block of %+v at %p, usable %d: %v", r, p, usable, err)
		}
		if invariants.Enabled {
			usable = r.size // but for the guard
		}
		blocks[i] = exhaustiveBlock{p, usable, byte(i + 1)}
		blocks[i].mark()
	}
	if err := apartInHeap(blocks); err != nil {
		return err
	}
	for _, i := range order {
		if !blocks[i].marked() {
			return fmt.Errorf("block %d of %d bytes is not what it was", i, wanted[i].size)
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
func combinations[T any](n int, values []T) func(func([]T) bool) {
	return func(yield func([]T) bool) {
		at := make([]int, n)
		for {
			chosen := make([]T, n)
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
