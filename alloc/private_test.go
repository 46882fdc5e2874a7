package alloc

import (
	"errors"
	"testing"

	"github.com/shmheap/shmheap/internal/layout"
)

var privateSizes = []uint64{16, 64, 1000, 20_000, layout.MaxSmall, 100_000, 2 << 20}

// makePrivate allocates three private blocks of each size and publishes the second of each. It returns the
// published ones and the others.
func makePrivate(t *testing.T, c *Cache) (published, unpublished []uint64) {
	t.Helper()
	for _, size := range privateSizes {
		for i := range 3 {
			off, err := c.allocPrivate(size)
			if err != nil {
				t.Fatal(err)
			}
			if i != 1 {
				unpublished = append(unpublished, off)
				continue
			}
			if err := c.a.publish(off); err != nil {
				t.Fatal(err)
			}
			published = append(published, off)
		}
	}
	return published, unpublished
}

// TestPublishedLivesUnpublishedDies: whether its maker dies or closes the cache.
func TestPublishedLivesUnpublishedDies(t *testing.T) {
	for _, end := range []string{"death", "close"} {
		t.Run(end, func(t *testing.T) {
			r := newGoRegion(t, 64<<20)
			survivor, _ := r.join(t)
			maker, member := r.join(t)
			c := mustCache(t, maker)
			kept := mustAlloc(t, c, 64)
			published, unpublished := makePrivate(t, c)
			mustCheck(t, survivor)
			mustCount(t, survivor, uint64(1+len(published)+len(unpublished)))
			if end == "death" {
				member.die()
				got, err := survivor.Recover()
				if err != nil || got.Private != len(unpublished) {
					t.Fatalf("recovered %+v, want %d private blocks: %v", got, len(unpublished), err)
				}
			} else if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			mustCheck(t, survivor)
			mustCount(t, survivor, uint64(1+len(published)))
			other := mustCache(t, survivor)
			for _, off := range append(published, kept) {
				mustFree(t, other, off)
			}
			for _, off := range unpublished {
				if err := other.free(off); err == nil {
					t.Errorf("the private block at %#x lived on", off)
				}
			}
			mustCount(t, survivor, 0)
		})
	}
}

// TestFreedPrivateBlocks: a published block that is freed, here or elsewhere, leaves a place for private ones.
func TestFreedPrivateBlocks(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	survivor, _ := r.join(t)
	maker, member := r.join(t)
	c, other := mustCache(t, maker), mustCache(t, survivor)
	for _, free := range []*Cache{c, other} {
		published, unpublished := makePrivate(t, c)
		for _, off := range append(published, unpublished...) {
			mustFree(t, free, off)
			if err := free.free(off); err == nil {
				t.Fatalf("block at %#x was freed twice", off)
			}
			if err := c.a.publish(off); !errors.Is(err, ErrNotAllocated) {
				t.Fatalf("publishing a free block: %v", err)
			}
		}
		mustCount(t, survivor, 0)
	}
	for range 5000 { // through the places of all that was freed
		if _, err := c.allocPrivate(1000); err != nil {
			t.Fatal(err)
		}
	}
	member.die()
	if _, err := survivor.Recover(); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, survivor)
	mustCount(t, survivor, 0)
}

// TestPublishShared: publishing what is shared changes nothing.
func TestPublishShared(t *testing.T) {
	a, _ := newGoRegion(t, 16<<20).join(t)
	c := mustCache(t, a)
	for _, size := range []uint64{16, 100_000} {
		off := mustAlloc(t, c, size)
		if err := a.publish(off); err != nil {
			t.Fatal(err)
		}
		if err := a.publish(off + 16); !errors.Is(err, ErrNotAllocated) {
			t.Errorf("publishing the inside of a block: %v", err)
		}
	}
	mustCheck(t, a)
	mustCount(t, a, 2)
}
