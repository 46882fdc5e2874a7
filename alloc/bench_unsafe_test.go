package alloc_test

import (
	"fmt"
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

// BenchmarkCollect marks, in a dry run, 512 MiB of blocks of a size that lead to each other at random, and says how fast
// they were scanned. With leaves most blocks have no pointers, as buffers and texts have none.
func BenchmarkCollect(b *testing.B) {
	for _, size := range []uint64{64, 1024, 1 << 20} {
		for _, leaves := range []bool{false, true} {
			b.Run(fmt.Sprintf("size=%d/leaves=%v", size, leaves), func(b *testing.B) { collect(b, size, leaves) })
		}
	}
}

func collect(b *testing.B, size uint64, leaves bool) {
	const total = 512 << 20
	a := newAllocator(b, 1<<30)
	index, err := alloc.MakeSlice[unsafe.Pointer](a, int(total/size), int(total/size))
	if err != nil {
		b.Fatal(err)
	}
	blocks := index.Slice()
	for i := range blocks {
		if blocks[i], err = a.AllocZeroed(size); err != nil {
			b.Fatal(err)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, p := range blocks {
		if !leaves {
			*(*unsafe.Pointer)(p) = blocks[rng.IntN(len(blocks))]
		}
	}
	root, err := alloc.New[alloc.Slice[unsafe.Pointer]](a)
	if err != nil {
		b.Fatal(err)
	}
	*root = index
	if err := alloc.StoreRoot(a, "index", root); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		done, err := a.Collect(b.Context(), &alloc.CollectOptions{DryRun: true})
		if err != nil || done.Blocks != 0 {
			b.Fatalf("%+v: %v", done, err)
		}
		b.SetBytes(int64(done.Scanned))
	}
}
