// Package slab drives the kernel's object allocator through the sample module sample_slab: caches made for
// the purpose, with objects of a chosen size, which are visible in /proc/slabinfo, in /sys/kernel/slab and to the
// tracepoints of kmem.
//
//	c, err := slab.Create(&slab.Options{Size: 192, Align: 64})
//	n, err := c.Alloc(10000, 0)          // into slots 0 to 9999
//	n, err = c.Free(0, 2, slab.All)      // every other one
//	err = c.Close()                      // the rest, and the cache
//
// A cache belongs to the process that made it: killed at any instruction, it leaves nothing behind. The methods may
// be called by any number of goroutines; the module does one call of a cache after the other.
package slab
