package alloc

import (
	"errors"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
)

// trimFor makes room below the limit of the heap when err says that it was met: it gives the storage of free
// granules back, as much as was wanted, and returns how many granules those were. What has storage and is free
// may be in the wrong place for what is wanted.
func (c *Cache) trimFor(err error) int {
	var limit *heap.LimitError
	if !errors.As(err, &limit) {
		return 0
	}
	return int(c.giveBack(int64((limit.Want + layout.GranuleSize - 1) >> layout.GranuleShift)))
}
