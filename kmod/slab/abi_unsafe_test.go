package slab

import "unsafe"

// number is something that C and Go must agree on.
type number struct {
	c     string
	value uint64
}

func numbers() []number {
	var (
		c createArgs
		a allocArgs
		f freeArgs
		s statArgs
	)
	at := func(name string, offset uintptr) number {
		return number{"offsetof(struct shmheap_slab_" + name + ")", uint64(offset)}
	}
	return []number{
		{"SHMHEAP_SLAB_MIN_SIZE", MinSize}, {"SHMHEAP_SLAB_MAX_SIZE", MaxSize}, {"SHMHEAP_SLAB_MAX_ALIGN", MaxAlign},
		{"SHMHEAP_SLAB_HWCACHE_ALIGN", uint64(HWCacheAlign)}, {"SHMHEAP_SLAB_RECLAIM_ACCOUNT", uint64(ReclaimAccount)},
		{"SHMHEAP_SLAB_ACCOUNT", uint64(Account)}, {"SHMHEAP_SLAB_TYPESAFE_BY_RCU", uint64(TypesafeByRCU)},
		{"SHMHEAP_SLAB_POISON", uint64(Poison)}, {"SHMHEAP_SLAB_RED_ZONE", uint64(RedZone)},
		{"SHMHEAP_SLAB_STORE_USER", uint64(StoreUser)}, {"SHMHEAP_SLAB_CONSISTENCY_CHECKS", uint64(ConsistencyChecks)},
		{"SHMHEAP_SLAB_FLAGS", uint64(ConsistencyChecks<<1 - 1)},
		{"SHMHEAP_SLAB_ZERO", uint64(Zero)}, {"SHMHEAP_SLAB_NOWAIT", uint64(NoWait)}, {"SHMHEAP_SLAB_FILL", uint64(Fill)},
		{"SHMHEAP_SLAB_HOW", uint64(Fill<<1 - 1)},
		{"SHMHEAP_SLAB_IOC_CREATE", iocCreate}, {"SHMHEAP_SLAB_IOC_ALLOC", iocAlloc},
		{"SHMHEAP_SLAB_IOC_FREE", iocFree}, {"SHMHEAP_SLAB_IOC_STAT", iocStat},
		{"sizeof(struct shmheap_slab_create)", uint64(unsafe.Sizeof(c))}, {"sizeof(struct shmheap_slab_alloc)", uint64(unsafe.Sizeof(a))},
		{"sizeof(struct shmheap_slab_free)", uint64(unsafe.Sizeof(f))}, {"sizeof(struct shmheap_slab_stat)", uint64(unsafe.Sizeof(s))},
		at("create, align", unsafe.Offsetof(c.Align)), at("create, flags", unsafe.Offsetof(c.Flags)),
		at("create, id", unsafe.Offsetof(c.ID)), at("create, max_objects", unsafe.Offsetof(c.MaxObjects)),
		at("alloc, count", unsafe.Offsetof(a.Count)), at("alloc, done", unsafe.Offsetof(a.Done)), at("alloc, how", unsafe.Offsetof(a.How)),
		at("free, first", unsafe.Offsetof(f.First)), at("free, stride", unsafe.Offsetof(f.Stride)), at("free, count", unsafe.Offsetof(f.Count)),
		at("free, done", unsafe.Offsetof(f.Done)), at("free, changed", unsafe.Offsetof(f.Changed)),
		at("stat, size", unsafe.Offsetof(s.Size)), at("stat, live", unsafe.Offsetof(s.Live)), at("stat, slots", unsafe.Offsetof(s.Slots)),
		at("stat, allocated", unsafe.Offsetof(s.Allocated)), at("stat, freed", unsafe.Offsetof(s.Freed)), at("stat, caches", unsafe.Offsetof(s.Caches)),
	}
}
