package alloc

import (
	"testing"

	"github.com/shmheap/shmheap/internal/layout"
)

// TestEmptySlabsOfNobody: what a dead or closed cache left empty is room for blocks of other classes.
func TestEmptySlabsOfNobody(t *testing.T) {
	r := newGoRegion(t, 16<<20)
	a, _ := r.join(t)
	victim, member := r.join(t)
	c := mustCache(t, victim)
	blocks := fill(t, c, layout.MaxSmall)
	for _, off := range blocks {
		mustFree(t, c, off)
	}
	member.die()
	if _, err := a.Recover(); err != nil {
		t.Fatal(err)
	}
	large, small := mustCache(t, a), mustCache(t, a)
	mustFree(t, large, mustAlloc(t, large, 8<<20))
	mustAlloc(t, small, 16)
	mustCheck(t, a)
	mustCount(t, a, 1)
}

// TestPressure: a cache that works gives up its empty slabs when another finds no space.
func TestPressure(t *testing.T) {
	r := newGoRegion(t, 16<<20)
	a, _ := r.join(t)
	b, _ := r.join(t)
	hoard, needy := mustCache(t, a), mustCache(t, b)
	for _, off := range fill(t, hoard, 512) {
		mustFree(t, hoard, off)
	}
	if _, err := needy.alloc(8 << 20); err == nil {
		t.Fatal("the hoard left room: the test needs a smaller heap")
	}
	for range 200 { // a refill now and then
		mustAlloc(t, hoard, 16<<10)
	}
	mustAlloc(t, needy, 4<<20)
	mustCheck(t, a)
}
