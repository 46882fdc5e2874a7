package alloc

import (
	"errors"
	"sync"
	"testing"

	"github.com/shmheap/shmheap/internal/layout"
)

func mustQuota(t *testing.T, a *Allocator, granules uint64) {
	t.Helper()
	if err := a.SetQuota(granules << layout.GranuleShift); err != nil {
		t.Fatal(err)
	}
}

// usageOf returns what Usage says of the peer.
func usageOf(t *testing.T, a *Allocator, m *member) PeerUsage {
	t.Helper()
	all, err := a.Usage()
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range all {
		if u.Peer == m.id {
			return u
		}
	}
	t.Fatalf("no peer %v in %+v", m.id, all)
	return PeerUsage{}
}

// fillQuota allocates blocks until an error, which must be a QuotaError.
func fillQuota(t *testing.T, c *Cache, size uint64) (blocks []uint64) {
	t.Helper()
	for {
		off, err := c.alloc(size)
		if err == nil {
			blocks = append(blocks, off)
			continue
		}
		var quota *QuotaError
		if !errors.As(err, &quota) || !errors.Is(err, ErrQuota) || !errors.Is(err, ErrNoSpace) || quota.Held+quota.Want <= quota.Quota {
			t.Fatalf("error %v: %+v", err, quota)
		}
		return blocks
	}
}

// TestQuota: a peer gets what its quota says, of either kind, and has it again when blocks are freed by anybody.
func TestQuota(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, m := r.join(t)
	other, n := r.join(t)
	c, foreign := mustCache(t, a), mustCache(t, other)
	mustQuota(t, a, 20)
	if a.Quota() != 20<<layout.GranuleShift || other.Quota() != 0 {
		t.Errorf("quotas are %d and %d", a.Quota(), other.Quota())
	}
	for _, size := range []uint64{4096, 2 << layout.GranuleShift, layout.MaxSmall} {
		for range 3 {
			blocks := fillQuota(t, c, size)
			if u := usageOf(t, other, m); u.Held() > u.Quota || u.Held() < 16<<layout.GranuleShift || // an empty slab may be kept
				u.Blocks+u.Large != uint64(len(blocks)) {
				t.Fatalf("%d blocks of %d bytes: %+v", len(blocks), size, u)
			}
			mustAlloc(t, foreign, size) // others are not concerned
			for i, off := range blocks {
				mustFree(t, []*Cache{c, foreign}[i%2], off)
			}
		}
	}
	mustQuota(t, a, 0)
	for range 100 {
		mustAlloc(t, c, 1<<layout.GranuleShift)
	}
	if u := usageOf(t, a, n); u.Quota != 0 || u.Large == 0 {
		t.Errorf("the other peer: %+v", u)
	}
	mustCheck(t, a)
}

// TestQuotaRaced: goroutines of a peer do not exceed its quota together.
func TestQuotaRaced(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, m := r.join(t)
	mustQuota(t, a, 50)
	var wg sync.WaitGroup
	for i := range 4 {
		c := mustCache(t, a)
		wg.Go(func() {
			for range 200 {
				off, err := c.alloc([]uint64{1000, 100_000}[i%2])
				if err != nil && !errors.Is(err, ErrQuota) {
					t.Error(err)
				}
				if err == nil && i%2 == 1 && c.free(off) != nil {
					t.Error("free")
				}
				if held := a.countHeld(); held > 50 {
					t.Errorf("%d granules are held", held)
				}
			}
		})
	}
	wg.Wait()
	if u := usageOf(t, a, m); u.Held() > 50<<layout.GranuleShift {
		t.Errorf("%+v", u)
	}
}

// TestQuotaOfTheDead: what a dead peer was charged is nobody's, and adopting counts.
func TestQuotaOfTheDead(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, _ := r.join(t)
	dead, m := r.join(t)
	c := mustCache(t, dead)
	for range 30 {
		mustAlloc(t, c, 32_768)
		mustAlloc(t, c, 100_000)
	}
	m.die()
	if u := usageOf(t, a, m); u.Alive || u.Large != 30 || u.Blocks != 30 {
		t.Errorf("before recovery: %+v", u)
	}
	if _, err := a.Recover(); err != nil {
		t.Fatal(err)
	}
	if u := usageOf(t, a, m); u.Alive || u.Large != 30 || u.Slabs != 0 {
		t.Errorf("after recovery: %+v", u)
	}
	mustQuota(t, a, 3) // a slab of this class has four
	if _, err := mustCache(t, a).alloc(32_768); !errors.Is(err, ErrQuota) {
		t.Errorf("adopting beyond the quota: %v", err)
	}
	mustCheck(t, a)
}

// TestUsageCounts: frees are counted where they happen, though no free into a slab of the cache counts any.
func TestUsageCounts(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, m := r.join(t)
	other, n := r.join(t)
	c, foreign := mustCache(t, a), mustCache(t, other)
	var blocks []uint64
	for range 10_000 {
		blocks = append(blocks, mustAlloc(t, c, 64))
	}
	for range 5 {
		blocks = append(blocks, mustAlloc(t, c, 100_000))
	}
	for _, off := range blocks[:6000] {
		mustFree(t, c, off)
	}
	for _, off := range blocks[6000:] {
		mustFree(t, foreign, off)
	}
	const lag = 64
	u, v := usageOf(t, a, m), usageOf(t, a, n)
	if u.Allocs > 10_000 || u.Allocs < 10_000-lag || u.LocalFrees > 6000 || u.LocalFrees < 6000-lag {
		t.Errorf("%+v", u)
	}
	if v.RemoteFrees != 4000 || v.LargeFrees != 5 || u.LargeAllocs != 5 || u.RemoteFrees != 0 || v.LocalFrees != 0 {
		t.Errorf("%+v, %+v", u, v)
	}
	if u.Refills == 0 || u.Caches != 1 || u.Bytes < u.Allocs*64+5*100_000 {
		t.Errorf("%+v", u)
	}
	kept := mustAlloc(t, c, 64)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if u := usageOf(t, a, m); u.Allocs != 10_001 || u.LocalFrees != 6000 || u.Caches != 0 || u.Slabs != 0 {
		t.Errorf("after closing: %+v", u)
	}
	mustFree(t, foreign, kept) // of nobody
	mustAlloc(t, foreign, 64)  // adopts
	for range 200 {
		mustFree(t, foreign, mustAlloc(t, foreign, 64))
	}
	if v := usageOf(t, a, n); v.Allocs < 201-lag || v.LocalFrees > 200 || v.LocalFrees < 200-lag {
		t.Errorf("%+v", v)
	}
}
