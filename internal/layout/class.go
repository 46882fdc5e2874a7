package layout

import "hash/crc32"

// Class is a size class: the blocks of one slab.
type Class struct {
	Size     uint32 // bytes of a block, a multiple of 16
	Granules uint32 // length of the slab
	Blocks   uint32 // number of blocks in the slab
	Fine     bool   // the bitmaps are in the fine table
	Recip    uint32 // ceil(2^32 / Size): off*Recip>>32 is off/Size for every offset inside a slab
}

// Bounds of the size classes. Four classes per doubling keep the rounding below one fifth.
const (
	NumClasses  = 40
	MaxSmall    = 32 << 10 // largest block that comes from a slab
	slabMinimum = 8        // blocks that a slab has at least
)

// Classes is the size-class table. It is part of the format.
var Classes = makeClasses()

var classOf = makeClassOf()

// ClassOf returns the smallest size class that holds size bytes; size must be at most MaxSmall.
func ClassOf(size uint64) int { return int(classOf[(size+15)>>4]) }

func makeClasses() (t [NumClasses]Class) {
	size := uint32(16)
	for i := range t {
		t[i] = makeClass(size)
		step := uint32(16)
		for step*8 <= size {
			step *= 2
		}
		size += step
	}
	return t
}

func makeClass(size uint32) Class {
	n := uint32(1)
	for n*GranuleSize/size < slabMinimum || n*GranuleSize%size > n*GranuleSize/16 {
		n++
	}
	blocks := n * GranuleSize / size
	return Class{
		Size:     size,
		Granules: n,
		Blocks:   blocks,
		Fine:     blocks > CoarseBlocks,
		Recip:    uint32((1<<32 + uint64(size) - 1) / uint64(size)),
	}
}

func makeClassOf() (t [MaxSmall/16 + 1]uint8) {
	c := 0
	for i := range t {
		for uint32(i)*16 > Classes[c].Size {
			c++
		}
		t[i] = uint8(c)
	}
	return t
}

// ClassesSum is the checksum of the size-class table, stored in the superblock so that programs built
// with another table do not share a heap.
func ClassesSum() uint32 {
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	for _, c := range Classes {
		h.Write([]byte{byte(c.Size), byte(c.Size >> 8), byte(c.Size >> 16), byte(c.Granules), byte(c.Blocks), byte(c.Blocks >> 8)})
	}
	return h.Sum32()
}
