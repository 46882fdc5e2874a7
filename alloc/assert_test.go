//go:build invariants

package alloc

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/layout"
)

// TestInvariants: what is not as it must be is a panic that says so.
func TestInvariants(t *testing.T) {
	for name, c := range map[string]struct {
		want string
		do   func(r *goRegion, a *Allocator, c *Cache, off uint64)
	}{
		"bit taken by another": {"is taken", func(_ *goRegion, a *Allocator, c *Cache, _ uint64) {
			_, bit, _ := c.peekBlock(binOf(c))
			binOf(c).word.And(^bit)
			c.alloc(100)
		}},
		"free of the bin": {"goes by free blocks", func(_ *goRegion, _ *Allocator, c *Cache, _ uint64) {
			binOf(c).free = 1 << 63
			binOf(c).word.And(1<<63 - 1)
			binOf(c).assertLoaded()
		}},
		"collected blocks": {"collect frees", func(*goRegion, *Allocator, *Cache, uint64) { assertMoved(3, 1, 7) }},
		"slab of another": {"has state", func(_ *goRegion, a *Allocator, c *Cache, off uint64) {
			binOf(c).setAside()
			a.states[off>>layout.GranuleShift].Swap(uint64(binOf(c).state(c.id + 1)))
			c.alloc(100)
		}},
		"slab in use given back": {"with 1 blocks in use", func(_ *goRegion, a *Allocator, c *Cache, off uint64) {
			c.releaseSlab(binOf(c), a.slab(off>>layout.GranuleShift, binOf(c).state(c.id)))
		}},
		"slab of a bin given back": {"a bin takes from it", func(_ *goRegion, a *Allocator, c *Cache, off uint64) {
			c.free(off)
			a.collect(binOf(c).slab)
			c.releaseSlab(binOf(c), binOf(c).slab)
		}},
		"far slot": {"not where the slot", func(r *goRegion, a *Allocator, c *Cache, off uint64) {
			other, err := a.NewCache()
			more, err2 := c.alloc(100)
			if err != nil || err2 != nil || other.free(off) != nil {
				panic("the test's own")
			}
			far := &other.far[uintptr(r.memory.Pointer(off))>>layout.GranuleShift%farSlots]
			far.local = far.remote
			other.free(more)
		}},
		"slots": {"has slots", func(_ *goRegion, _ *Allocator, c *Cache, _ uint64) {
			c.slots.used++
			c.alloc(5000)
		}},
		"retention": {"retention", func(_ *goRegion, a *Allocator, c *Cache, _ uint64) {
			a.retention.extra = -100_000
			c.retain(1000)
		}},
		"quota": {"quota", func(_ *goRegion, a *Allocator, c *Cache, _ uint64) {
			a.quota.under = 1 << 40
			c.alloc(100_000)
		}},
		"run without its tails": {"not whole", func(_ *goRegion, a *Allocator, c *Cache, _ uint64) {
			head, n, _ := c.claimLarge(200_000, 1)
			a.states[head+1].Swap(0)
			c.publishLarge(head, n, 0)
		}},
		"run marked free": {"not marked busy", func(_ *goRegion, a *Allocator, c *Cache, _ uint64) {
			head, n, _ := c.claimLarge(200_000, 1)
			a.clearBusy(head + 1)
			c.releaseSpan(head, n)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newGoRegion(t, 64<<20)
			a, _ := r.join(t)
			cache := mustCache(t, a)
			off := mustAlloc(t, cache, 100)
			defer func() {
				if said := fmt.Sprint(recover()); !strings.Contains(said, "broken invariant") || !strings.Contains(said, c.want) {
					t.Errorf("it said %s, want %q", said, c.want)
				}
			}()
			c.do(r, a, cache, off)
		})
	}
}

// binOf returns the bin that blocks of 100 bytes come from.
func binOf(c *Cache) *bin { return &c.common().all[layout.ClassOf(100+minGuard)] }

// TestAllCareful: caches are careful, an Allocator's own too, and stay so.
func TestAllCareful(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, _ := r.join(t)
	for _, free := range []func(uint64) error{a.free, mustCache(t, a).free} {
		off, err := a.alloc(100)
		if err != nil {
			t.Fatal(err)
		}
		if l, err := a.borrow(); err != nil || l.careful == nil {
			t.Fatalf("a cache of the allocator is not careful: %v", err)
		} else {
			l.end()
		}
		if err := free(off); err != nil {
			t.Error(err)
		}
	}
	if mustCache(t, a).shared.front(100).free != 0 {
		t.Error("the short way of Alloc leads to a block")
	}
}
