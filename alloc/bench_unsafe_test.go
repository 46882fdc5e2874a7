package alloc_test

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
)

// pairSizes are 16 to 1024 bytes, uniform.
func pairSizes() (sizes [4096]uint64) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range sizes {
		sizes[i] = 16 + rng.Uint64N(1009)
	}
	return sizes
}

// pairs frees one of 512 live blocks and allocates another, b.N times.
func pairs(b *testing.B, s alloc.Source) {
	sizes := pairSizes()
	var live [512]unsafe.Pointer
	for i := range live {
		live[i], _ = s.Alloc(sizes[i])
	}
	b.ResetTimer()
	for i := range b.N {
		k := i * 7 & 511
		if err := s.Free(live[k]); err != nil {
			b.Fatal(err)
		}
		var err error
		if live[k], err = s.Alloc(sizes[i&4095]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCachePairs(b *testing.B) {
	c, err := newAllocator(b, 1<<30).NewCache()
	if err != nil {
		b.Fatal(err)
	}
	pairs(b, c)
}

func BenchmarkAllocatorPairs(b *testing.B) { pairs(b, newAllocator(b, 1<<30)) }

func BenchmarkFixedPairs(b *testing.B) {
	c, err := newAllocator(b, 1<<30).NewCache()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		p, err := c.Alloc(64)
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Free(p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNew(b *testing.B) {
	c, err := newAllocator(b, 1<<30).NewCache()
	if err != nil {
		b.Fatal(err)
	}
	type node struct {
		Next *node
		Rest [5]uint64
	}
	for b.Loop() {
		p, err := alloc.New[node](c)
		if err != nil {
			b.Fatal(err)
		}
		if err := alloc.Delete(c, p); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkArena allocates 48 bytes at a time from an arena, which is reset when it has 64 MiB.
func BenchmarkArena(b *testing.B) {
	r, err := alloc.NewArena(newAllocator(b, 1<<30), &alloc.ArenaOptions{Chunk: 64 << 20})
	if err != nil {
		b.Fatal(err)
	}
	for n := 0; b.Loop(); n++ {
		if n == 64<<20/48 {
			n = 0
			if err := r.Reset(); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := r.Alloc(48); err != nil {
			b.Fatal(err)
		}
	}
}
