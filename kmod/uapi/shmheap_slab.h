/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note OR MIT */
/*
 * The calls of /dev/shmheap_slab, by which a program drives the kernel's object allocator: see
 * doc/kernel.md, "Samples".
 *
 * Each open file may create one cache, named shmheap_slab-ID, and has a table of slots, numbered
 * from 0, for the objects that it allocates from it. When the file is closed, all goes back.
 *
 * Padding and unknown flags must be 0. The struct is copied out after an error too, but EFAULT and
 * EINVAL: it says how far the call came.
 */
#ifndef _UAPI_SHMHEAP_SLAB_H
#define _UAPI_SHMHEAP_SLAB_H

#include "shmheap.h"

#ifdef __KERNEL__
#include <linux/ioctl.h>
#else
#include <sys/ioctl.h>
#endif

#define SHMHEAP_SLAB_DEVICE "/dev/shmheap_slab"

/* The limits of a cache. */
#define SHMHEAP_SLAB_MIN_SIZE 8
#define SHMHEAP_SLAB_MAX_SIZE 65536
#define SHMHEAP_SLAB_MAX_ALIGN 4096

/* Flags of a cache: the kernel's SLAB_ of the same name. */
#define SHMHEAP_SLAB_HWCACHE_ALIGN (1U << 0)
#define SHMHEAP_SLAB_RECLAIM_ACCOUNT (1U << 1)
#define SHMHEAP_SLAB_ACCOUNT (1U << 2)
#define SHMHEAP_SLAB_TYPESAFE_BY_RCU (1U << 3)
#define SHMHEAP_SLAB_POISON (1U << 4)
#define SHMHEAP_SLAB_RED_ZONE (1U << 5)
#define SHMHEAP_SLAB_STORE_USER (1U << 6)
#define SHMHEAP_SLAB_CONSISTENCY_CHECKS (1U << 7)
#define SHMHEAP_SLAB_FLAGS ((1U << 8) - 1)

/* CREATE: EBUSY when the file has a cache already; ENOSPC when there are too many caches. */
struct shmheap_slab_create {
	__u32 size; /* bytes of an object, from MIN_SIZE to MAX_SIZE */
	__u32 align; /* a power of two up to MAX_ALIGN, or 0 */
	__u32 flags;
	__u32 id; /* out */
	__u64 max_objects; /* out: how many the file may have at once */
	__u64 pad;
};

/* How to allocate. */
#define SHMHEAP_SLAB_ZERO (1U << 0) /* __GFP_ZERO */
#define SHMHEAP_SLAB_NOWAIT (1U << 1) /* GFP_NOWAIT instead of GFP_KERNEL */
#define SHMHEAP_SLAB_FILL (1U << 2) /* write all bytes of each object */
#define SHMHEAP_SLAB_HOW ((1U << 3) - 1)

/*
 * ALLOC: fills the empty slots with the lowest numbers. ENXIO without a cache; ENOSPC when the
 * file has max_objects; ENOMEM; EINTR when the process is being killed.
 */
struct shmheap_slab_alloc {
	__u64 count;
	__u64 done; /* out: how many it allocated */
	__u32 how;
	__u32 pad;
};

/*
 * FREE: frees the objects in the slots first, first + stride, ... and passes over empty slots.
 * EILSEQ when an object that was filled had changed: it is free all the same.
 */
struct shmheap_slab_free {
	__u64 first;
	__u64 stride; /* 1 or more */
	__u64 count; /* how many at most; ~0 for all there are */
	__u64 done; /* out: how many it freed */
	__u64 changed; /* out: how many of them had changed since they were filled */
};

/* STAT: ENXIO without a cache. */
struct shmheap_slab_stat {
	__u32 id;
	__u32 size; /* of an object, as asked for */
	__u64 live; /* objects */
	__u64 slots; /* used so far */
	__u64 allocated; /* since the cache was made */
	__u64 freed;
	__u64 caches; /* of all files */
};

#define SHMHEAP_SLAB_IOC_MAGIC 0xB8
#define SHMHEAP_SLAB_IOC_CREATE _IOWR(SHMHEAP_SLAB_IOC_MAGIC, 0, struct shmheap_slab_create)
#define SHMHEAP_SLAB_IOC_ALLOC _IOWR(SHMHEAP_SLAB_IOC_MAGIC, 1, struct shmheap_slab_alloc)
#define SHMHEAP_SLAB_IOC_FREE _IOWR(SHMHEAP_SLAB_IOC_MAGIC, 2, struct shmheap_slab_free)
#define SHMHEAP_SLAB_IOC_STAT _IOR(SHMHEAP_SLAB_IOC_MAGIC, 3, struct shmheap_slab_stat)

SHMHEAP_ASSERT(sizeof(struct shmheap_slab_create) == 32);
SHMHEAP_ASSERT(sizeof(struct shmheap_slab_alloc) == 24);
SHMHEAP_ASSERT(sizeof(struct shmheap_slab_free) == 40);
SHMHEAP_ASSERT(sizeof(struct shmheap_slab_stat) == 48);

#endif
