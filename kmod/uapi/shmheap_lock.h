/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note OR MIT */
/*
 * A lock in shared memory: package lock's Mutex. Its doc.go has the states, and doc/format.md the
 * words.
 */
#ifndef _UAPI_SHMHEAP_LOCK_H
#define _UAPI_SHMHEAP_LOCK_H

#include "shmheap.h"

struct shmheap_mutex {
	__u64 word; /* 0, or the owner and the bits below; changed by compare-and-swap */
	__u32 seq; /* the futex of those who wait */
	__u32 waiting; /* 1 when somebody may be asleep */
};

#define SHMHEAP_MUTEX_OWNER ((1ULL << 48) - 1)
#define SHMHEAP_MUTEX_WAITING (1ULL << 63) /* somebody may be asleep */
#define SHMHEAP_MUTEX_TURN (1ULL << 62) /* only who has slept may take it */
#define SHMHEAP_MUTEX_DAMAGED (1ULL << 61) /* an owner died; nobody has said that all is well */
#define SHMHEAP_MUTEX_LOST (1ULL << 60) /* it was given back damaged: of no use any more */

/*
 * The kernel as an owner: the last peer that a heap of 65536 could ever have. Programs that share
 * a lock with a kernel need a Peers that says of it that it lives.
 */
#define SHMHEAP_PEER_KERNEL SHMHEAP_MUTEX_OWNER

SHMHEAP_ASSERT(sizeof(struct shmheap_mutex) == 16);
SHMHEAP_ASSERT(offsetof(struct shmheap_mutex, seq) == 8);
SHMHEAP_ASSERT(offsetof(struct shmheap_mutex, waiting) == 12);

#endif
