package alloc

import (
	"fmt"

	"github.com/shmheap/shmheap/internal/layout"
)

// MaxAlign is the largest alignment of a block: bases that package probe finds are multiples of it.
const MaxAlign = 1 << 30

// allocAligned returns the offset of a block of at least size bytes whose address is a multiple of align, a power
// of two up to MaxAlign. Blocks of a class are as aligned as its size is, as slabs begin at granules; what
// needs more than a class gives is a run of granules at a multiple of align.
func (c *Cache) allocAligned(size, align uint64) (uint64, error) {
	switch {
	case align == 0 || align&(align-1) != 0 || align > MaxAlign:
		return 0, fmt.Errorf("%w: %d", ErrAlign, align)
	case align <= minAlign:
		return c.alloc(size)
	case c.closed:
		return 0, ErrClosed
	}
	for class := layout.ClassOf(min(max(size, align), layout.MaxSmall)); size <= layout.MaxSmall && class < layout.NumClasses; class++ {
		if uint64(layout.Classes[class].Size)%align == 0 {
			return c.allocFrom(&c.common().all[class])
		}
	}
	return c.allocLargeAligned(size, max(align>>layout.GranuleShift, 1), 0)
}

// minAlign is what every block has.
const minAlign = 16
