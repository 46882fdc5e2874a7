package alloc

import "github.com/shmheap/shmheap/internal/layout"

// Trim gives the storage of free granules back to the system and returns how many bytes those were, after it has
// freed the empty slabs of nobody and of this process's idle caches. It claims them for the moment that takes,
// at most 16 MiB at a time. The errors are
// NewCache's, and those of the system.
func (a *Allocator) Trim() (bytes uint64, err error) {
	if err := a.enter(); err != nil {
		return 0, err
	}
	defer a.leave()
	c, err := a.newCache()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	a.near.dropEmpties()
	a.shards.dropEmpties(c)
	c.dropOrphans()
	for g := a.first; g < a.frontier(); {
		n, err := c.trimFrom(g)
		if err != nil {
			return bytes, err
		}
		bytes += n << layout.GranuleShift
		g += max(n, 1)
	}
	return bytes, nil
}

// trimLimit bounds how many granules are kept from others at a time.
const trimLimit = 256

// trimFrom gives back the run of free committed granules at g and returns its length.
func (c *Cache) trimFrom(g uint64) (uint64, error) {
	a := c.a
	n := uint64(0)
	for n < trimLimit && g+n < a.frontier() && a.states[g+n].Load() == 0 && a.hasStorage(g+n) {
		n++
	}
	if n == 0 || c.tryClaim(g, n) != n {
		return 0, nil
	}
	if err := a.region.Decommit(g<<layout.GranuleShift, n<<layout.GranuleShift); err != nil {
		return 0, c.abandon(g, n, err)
	}
	return n, a.releaseRun(g, n)
}
