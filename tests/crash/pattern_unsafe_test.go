package crash

import (
	"fmt"
	"math/rand/v2"
	"unsafe"
)

// A stamp says what a block is filled with: a random number above the block's size.
const sizeBits = 24

func makeStamp(r *rand.Rand, size uint64) uint64 { return r.Uint64()<<sizeBits | size }

func stampSize(stamp uint64) uint64 { return stamp & (1<<sizeBits - 1) }

// pattern is the n-th eight bytes of a block with this stamp.
func pattern(stamp, n uint64) uint64 {
	x := (stamp + n) * 0x9e3779b97f4a7c15
	return x ^ x>>29
}

// fill writes the pattern into a block, and verify looks whether it is there. Of a large block they
// take samples, so that the allocator gets its share of the time.
func fill(p unsafe.Pointer, stamp uint64) {
	words, tail := halves(p, stampSize(stamp))
	for i := 0; i < len(words); i = nextSample(i, len(words)) {
		words[i] = pattern(stamp, uint64(i))
	}
	for i := range tail {
		tail[i] = byte(pattern(stamp, uint64(len(words)+i)))
	}
}

func verify(p unsafe.Pointer, stamp uint64) error {
	words, tail := halves(p, stampSize(stamp))
	for i := 0; i < len(words); i = nextSample(i, len(words)) {
		if words[i] != pattern(stamp, uint64(i)) {
			return fmt.Errorf("block %p of %d bytes, stamp %#x: word %d is %#x", p, stampSize(stamp), stamp, i, words[i])
		}
	}
	for i, b := range tail {
		if b != byte(pattern(stamp, uint64(len(words)+i))) {
			return fmt.Errorf("block %p of %d bytes, stamp %#x: tail byte %d is %#x", p, stampSize(stamp), stamp, i, b)
		}
	}
	return nil
}

// verifyZero looks whether a new block is zero.
func verifyZero(p unsafe.Pointer, size uint64) error {
	words, tail := halves(p, size)
	for i := 0; i < len(words); i = nextSample(i, len(words)) {
		if words[i] != 0 {
			return fmt.Errorf("block %p of %d bytes: word %d is %#x, not zero", p, size, i, words[i])
		}
	}
	for i, b := range tail {
		if b != 0 {
			return fmt.Errorf("block %p of %d bytes: tail byte %d is %#x, not zero", p, size, i, b)
		}
	}
	return nil
}

// nextSample goes through the first and the last words one by one, and of those in between takes one
// line of 64 bytes in a page.
func nextSample(i, n int) int {
	if i < 64 || i%512 != 7 || i+512 > n-64 {
		return i + 1
	}
	return i + 505
}

func halves(p unsafe.Pointer, size uint64) (words []uint64, tail []byte) {
	n := size / 8
	return unsafe.Slice((*uint64)(p), n), unsafe.Slice((*byte)(unsafe.Add(p, 8*n)), size%8)
}
