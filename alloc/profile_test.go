package alloc

import (
	"errors"
	"math"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/shmheap/shmheap/internal/layout"
)

func mustProfile(t *testing.T, a *Allocator, rate uint64) {
	t.Helper()
	if err := a.SetProfileRate(rate); err != nil || a.ProfileRate() != rate {
		t.Fatalf("rate %d: %v", a.ProfileRate(), err)
	}
}

// holds returns what the profile says of the sites whose stack has a function of that name.
func holds(t *testing.T, a *Allocator, function string) (s Sample) {
	t.Helper()
	all, err := a.Profile()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range all {
		for _, f := range x.Stack {
			if strings.HasSuffix(f.Function, function) {
				s.Peer, s.Program, s.Stack = x.Peer, x.Program, x.Stack
				s.Sampled, s.Blocks, s.Bytes = s.Sampled+x.Sampled, s.Blocks+x.Blocks, s.Bytes+x.Bytes
				break
			}
		}
	}
	return s
}

//go:noinline
func keepSmall(t *testing.T, c *Cache, n int) (blocks []uint64) {
	for range n {
		blocks = append(blocks, mustAlloc(t, c, 40))
	}
	return blocks
}

//go:noinline
func keepMedium(t *testing.T, c *Cache, n int) (blocks []uint64) {
	for range n {
		blocks = append(blocks, mustAlloc(t, c, 3000))
	}
	return blocks
}

//go:noinline
func keepLarge(t *testing.T, c *Cache, n int) (blocks []uint64) {
	for range n {
		blocks = append(blocks, mustAlloc(t, c, 2<<layout.GranuleShift))
	}
	return blocks
}

// wantNear fails the test unless got is want within four standard deviations, of a sum of n samples.
func wantNear(t *testing.T, what string, got uint64, want, samples float64) {
	t.Helper()
	if off := math.Abs(float64(got)/want - 1); off > 4/math.Sqrt(samples) {
		t.Errorf("%s: %d, want about %.0f", what, got, want)
	}
}

// TestProfile: whoever looks learns who holds how much, while the holder lives and afterwards, until the blocks
// are freed by others.
func TestProfile(t *testing.T) {
	r := newGoRegion(t, 256<<20)
	a, _ := r.join(t)
	holder, m := r.join(t)
	c := mustCache(t, holder)
	const rate = 16 << 10
	keepSmall(t, c, 100) // before there is a profile
	mustProfile(t, a, rate)
	small, medium, large := keepSmall(t, c, 200_000), keepMedium(t, c, 5000), keepLarge(t, c, 200)
	look := func(when string) {
		t.Helper()
		s := holds(t, a, ".keepSmall")
		wantNear(t, when+": small bytes", s.Bytes, 200_000*40, 200_000*48/rate)
		wantNear(t, when+": small blocks", s.Blocks, 200_000, 200_000*48/rate)
		wantNear(t, when+": medium bytes", holds(t, a, ".keepMedium").Bytes, 5000*3000, 5000*3072/rate)
		wantNear(t, when+": large bytes", holds(t, a, ".keepLarge").Bytes, 200*2<<layout.GranuleShift, 200)
		if s.Peer != m.id || !strings.Contains(os.Args[0], s.Program) || s.Program == "" {
			t.Errorf("%s: %+v", when, s)
		}
		f := s.Stack[1] // below mustAlloc
		if !strings.HasSuffix(f.Function, ".keepSmall") || !strings.HasSuffix(f.File, "profile_test.go") || f.Line == 0 {
			t.Errorf("%s: stack %+v", when, s.Stack)
		}
		mustCheck(t, a)
	}
	look("alive")
	m.die()
	look("dead")
	if _, err := a.Recover(); err != nil {
		t.Fatal(err)
	}
	look("recovered")
	other := mustCache(t, a)
	for _, blocks := range [][]uint64{small, medium, large} {
		for _, off := range blocks {
			mustFree(t, other, off)
		}
	}
	if all, err := a.Profile(); err != nil || len(all) != 0 {
		t.Errorf("after all was freed: %+v, %v", all, err)
	}
	mustCount(t, a, 100)
	mustProfile(t, a, 1) // everything is a sample; slabs of samples that nobody owns come in handy
	for range 3 {
		for _, off := range keepSmall(t, other, 1000) {
			if s, err := a.usableSize(off); err != nil || s != layout.SampleMin {
				t.Fatalf("a sample of %d bytes: %v", s, err)
			}
			mustFree(t, other, off)
			if err := other.free(off); !errors.Is(err, ErrDoubleFree) {
				t.Fatalf("freeing a sample twice: %v", err)
			}
		}
	}
	mustCheck(t, a)
	mustProfile(t, a, 0)
	keepSmall(t, other, 1000)
	if all, err := a.Profile(); err != nil || len(all) != 0 {
		t.Errorf("without a profile: %+v, %v", all, err)
	}
}

// TestProfileWithoutArguments: a program that was not told its own name has a profile too.
func TestProfileWithoutArguments(t *testing.T) {
	args := os.Args
	t.Cleanup(func() { os.Args = args })
	os.Args = nil
	a, _ := newGoRegion(t, 64<<20).join(t)
	mustProfile(t, a, 1)
	mustAlloc(t, mustCache(t, a), 1000)
	if samples, err := a.Profile(); err != nil || len(samples) != 1 || samples[0].Program != "unknown" {
		t.Errorf("samples %+v: %v", samples, err)
	}
}

// TestSampledInto: exact operations are sampled too.
func TestSampledInto(t *testing.T) {
	r := newGoRegion(t, 32<<20)
	a, _ := r.join(t)
	c := mustCache(t, a)
	word := mustAlloc(t, c, 64)
	mustProfile(t, a, 1)
	for _, size := range []uint64{16, 10_000, 100_000} {
		r.memory.Word(word).StoreRelease(0)
		if err := c.allocInto(word, size); err != nil {
			t.Fatal(err)
		}
		if s := holds(t, a, ".TestSampledInto"); s.Sampled != 1 {
			t.Errorf("%d bytes: %+v", size, s)
		}
		if err := c.freeFrom(word); err != nil {
			t.Fatal(err)
		}
	}
	mustCheck(t, a)
	mustCount(t, a, 1)
}

// TestSitesOfTheDead: half-written entries are taken over at once, others when no block refers to them.
func TestSitesOfTheDead(t *testing.T) {
	r := newGoRegion(t, 4<<20)
	a, _ := r.join(t)
	dead, m := r.join(t)
	n := a.siteCount
	for at := range n {
		if !dead.claimSite(at, nil) {
			t.Fatalf("entry %d is taken", at)
		}
		if at%2 == 0 {
			dead.writeSite(at, "program\nf\tf.go:1", 1)
		}
	}
	if got := a.makeSite("a", 1); got != 0 {
		t.Errorf("site %d of a living peer was taken", got)
	}
	m.die()
	for range n {
		if a.makeSite("a", 1) == 0 {
			t.Fatal("no entry is free")
		}
	}
	if got := a.makeSite("a", 1); got != 0 {
		t.Errorf("site %d of a living peer was taken", got)
	}
	if s, ok := a.readSite(1); !ok || s.text != "a" {
		t.Errorf("%+v, %v", s, ok)
	}
	for _, bad := range []uint32{0, uint32(n) + 1, 1<<32 - 1} {
		if _, ok := a.readSite(bad); ok {
			t.Errorf("site %d is there", bad)
		}
	}
}

// TestProfileWhileWorking: looking does not disturb those who work.
func TestProfileWhileWorking(t *testing.T) {
	r := newGoRegion(t, 64<<20)
	a, _ := r.join(t)
	mustProfile(t, a, 2000)
	var wg sync.WaitGroup
	for range 3 {
		b, _ := r.join(t)
		c := mustCache(t, b)
		wg.Go(func() {
			for range 20 {
				for _, off := range keepSmall(t, c, 300) {
					mustFree(t, c, off)
				}
				for _, off := range keepLarge(t, c, 3) {
					mustFree(t, c, off)
				}
			}
		})
	}
	for range 50 {
		if _, err := a.Profile(); err != nil {
			t.Error(err)
		}
		if _, err := a.Usage(); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	mustCheck(t, a)
	mustCount(t, a, 0)
}
