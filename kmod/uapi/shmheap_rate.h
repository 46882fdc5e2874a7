/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note OR MIT */
/*
 * The queueing discipline shmrate: its rate is a control word of an instance. doc/kernel.md,
 * "Samples", says how to use it.
 */
#ifndef _UAPI_SHMHEAP_RATE_H
#define _UAPI_SHMHEAP_RATE_H

#include "shmheap_kmod.h"

#define SHMHEAP_RATE_KIND "shmrate"

/* Attributes in TCA_OPTIONS. A change that leaves one out leaves it as it is. */
enum {
	TCA_SHMRATE_UNSPEC,
	TCA_SHMRATE_INSTANCE, /* string: the name; must be there at first, cannot be changed */
	TCA_SHMRATE_WORD, /* u32: which control word has the rate; likewise */
	TCA_SHMRATE_LIMIT, /* u32: bytes that may wait; 65536 at first */
	TCA_SHMRATE_BURST, /* u32: bytes that may go at once after a pause; 4096 at first */
	__TCA_SHMRATE_MAX,
};

#define TCA_SHMRATE_MAX (__TCA_SHMRATE_MAX - 1)

/*
 * The control word: bytes a second, 0 to hold everything back. What is more than this counts as
 * this.
 */
#define SHMHEAP_RATE_MAX (1ULL << 40)

/* Records of the instance's stream. */
#define SHMHEAP_RATE_RECORD_CHANGED 1 /* the discipline has seen another rate */
#define SHMHEAP_RATE_RECORD_DROPPED 2 /* it has dropped a packet, as there were too many bytes */

struct shmheap_rate_record {
	__u32 ifindex; /* of the device, in its network namespace */
	__u32 handle; /* of the discipline */
	__u64 rate; /* bytes a second, from now on */
	__u64 before; /* CHANGED: until now. DROPPED: packets dropped, with this one */
	__u32 bytes; /* DROPPED: of the packet */
	__u32 backlog; /* bytes that wait */
};

/* TCA_STATS_APP */
struct shmheap_rate_stats {
	__u64 rate; /* as last seen */
	__u64 changes; /* rates seen after the first */
	__u64 unrecorded; /* records that the stream had no room for */
};

SHMHEAP_ASSERT(sizeof(struct shmheap_rate_record) == 32);
SHMHEAP_ASSERT(sizeof(struct shmheap_rate_stats) == 24);

#endif
