/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note OR MIT */
/*
 * The words that programs and kernels share with shmheap: what is in the file of a heap as far as
 * a reader needs it to find a root, and queues in full. doc/format.md says what each word means and
 * who writes it with which ordering; the Go declarations are in internal/layout and queue, and a
 * test has the compiler prove that both agree.
 *
 * Little endian, 64-bit systems only, but for the calls of shmheap_kmod.h, which 32-bit programs
 * may make as well. For C11 and C++11. Words are naturally aligned and written whole. Offsets are
 * bytes from the base of the heap, 0 is nil.
 */
#ifndef _UAPI_SHMHEAP_H
#define _UAPI_SHMHEAP_H

#ifdef __KERNEL__
#include <linux/types.h>
#include <linux/build_bug.h>
#include <linux/stddef.h>
#elif defined(__linux__)
#include <linux/types.h>
#include <stddef.h>
#else
#include <stddef.h>
#include <stdint.h>
typedef uint8_t __u8;
typedef uint32_t __u32;
typedef uint64_t __u64;
typedef int64_t __s64;
#endif

#define SHMHEAP_MAGIC 0x504145484d48531aULL
#define SHMHEAP_VERSION 1
#define SHMHEAP_READY 0x1d5ead1e4ea90001ULL
#define SHMHEAP_GRANULE 65536

/* The first page of the region. Validate it before use: magic, version, ready, checksum. */
struct shmheap_super {
	__u64 magic;
	__u32 version;
	__u32 size0;
	__u64 base;
	__u64 size;
	__u32 page_size;
	__u32 granule;
	__u32 max_roots;
	__u32 max_peers;
	__u32 max_caches;
	__u32 classes;
	__u32 classes_sum;
	__u32 pad0;
	__s64 created;
	__u32 creator_pid;
	__u32 creator_uid;
	__u8 id[16];
	__u8 name[64];
	__u64 committed;
	__u64 roots; /* where the table of roots begins */
	__u64 peers;
	__u64 caches;
	__u64 states;
	__u64 busy;
	__u64 hints;
	__u64 slabs;
	__u64 fine;
	__u64 sites;
	__u64 data; /* where elements may lie: up to size */
	__u8 backing[16]; /* what keeps the region, when that is no file; zero-terminated */
	__u8 locator[240]; /* by which that finds it */
	__u32 pad2;
	__u32 checksum; /* CRC-32C of the bytes before it */
	__u64 ready;
};

/* A named entry point. Load state, read the rest, load state again: equal and odd, or read anew. */
struct shmheap_root {
	__u64 state; /* bit 0: in use; above it a count of changes */
	__u64 offset;
	__u64 type;
	__u8 name[64];
	__u8 type_name[32];
	__u8 pad[8];
};

#define SHMHEAP_QUEUE_MAGIC 0x45554555514d4853ULL
#define SHMHEAP_QUEUE_VERSION 1
#define SHMHEAP_QUEUE_READY 0x1d5ead1e4ea90002ULL
#define SHMHEAP_QUEUE_TYPE 0x51554555455f7631ULL /* type of a root that leads to a queue */

enum shmheap_queue_kind {
	SHMHEAP_SPSC = 1,
	SHMHEAP_MPSC = 2,
	SHMHEAP_MPMC = 3,
	SHMHEAP_BROADCAST = 4,
};

/* What sleepers wait on. */
struct shmheap_bell {
	__u32 seq; /* the futex, shared */
	__u32 need; /* 1 when somebody may be asleep */
	__u8 pad[8];
};

/* Bits of shmheap_queue.state. */
#define SHMHEAP_QUEUE_CLOSED (1ULL << 0)
#define SHMHEAP_QUEUE_POP_SLEEP (1ULL << 1)
#define SHMHEAP_QUEUE_PUSH_SLEEP (1ULL << 2)

struct shmheap_queue {
	__u64 magic;
	__u32 version;
	__u32 kind;
	__u32 order; /* 1 << order slots */
	__u32 handles;
	__u64 table; /* from here: the handles */
	__u64 slots; /* from here: the slots */
	__u64 size;
	__u64 hands; /* from the base: the table of hands, 0 for none */
	__u64 record; /* bytes of a slot */
	__u8 pad0[56];
	__u64 ready;
	__u64 state;
	__u8 pad1[120];
	__u64 tail; /* hint of the pushes */
	__u8 pad2[120];
	__u64 head; /* hint of the pops */
	__u8 pad3[120];
	struct shmheap_bell pops;
	__u8 pad4[112];
	struct shmheap_bell pushes;
	__u8 pad5[112];
	__u64 dropped;
	__u64 deaths[2];
	__u64 mourned[2];
	__u8 pad6[88];
	__u64 watch;
	__u8 pad7[120];
};

/*
 * A slot: full | lap | by | value, or, when it is empty, lap | by | popper.
 *
 * Push at position t: the slot t % slots must be empty of lap t / slots % 4096; one
 * compare-and-swap (a store with release order, where nobody else pushes) makes it full. A producer
 * that finds by or popper not 0 in a slot must not overwrite it unless it does what
 * queue/evidence.go does. Pop: one compare-and-swap (or store) from full to empty of the next lap
 * that keeps by. Between the store and a look at state's bits for sleepers there must be a full
 * barrier once that bit has been seen set.
 */
#define SHMHEAP_SLOT_FULL (1ULL << 63)
#define SHMHEAP_SLOT_LAP_SHIFT 51
#define SHMHEAP_SLOT_LAP_MASK 4095ULL
#define SHMHEAP_SLOT_BY_SHIFT 43
#define SHMHEAP_SLOT_BY_MASK (0xffULL << SHMHEAP_SLOT_BY_SHIFT)
#define SHMHEAP_SLOT_VALUE_MASK ((1ULL << 43) - 1)
#define SHMHEAP_SLOT_POPPER_MASK 0xffULL
#define SHMHEAP_SLOT_UNIT 8 /* elements are multiples of this */

static inline __u64 shmheap_slot_empty(__u64 position, __u32 order)
{
	return ((position >> order) & SHMHEAP_SLOT_LAP_MASK) << SHMHEAP_SLOT_LAP_SHIFT;
}

static inline __u64 shmheap_slot_full(__u64 position, __u32 order, __u64 offset)
{
	return SHMHEAP_SLOT_FULL | shmheap_slot_empty(position, order) | offset / SHMHEAP_SLOT_UNIT;
}

#define SHMHEAP_HANDS_MAGIC 0x53444e41484d4853ULL

struct shmheap_hands {
	__u64 magic;
	__u32 version;
	__u32 count;
	__u8 pad0[104];
	__u64 ready;
	__u64 recoverer;
	__u8 pad1[56];
	__u64 orphans;
	__u8 pad2[56];
};

struct shmheap_hand {
	__u64 owner;
	__u64 held;
	__u64 intent;
	__u64 queue;
	__u64 position;
	__u64 origin;
	__u8 pad0[80];
	__u64 verdict;
	__u8 pad1[120];
};

#define SHMHEAP_MAILBOX_MAGIC 0x584f424c494d4853ULL
#define SHMHEAP_MAILBOX_WORDS 7

struct shmheap_mailbox {
	__u64 turn; /* even: the client's, odd: the server's */
	__u64 words[SHMHEAP_MAILBOX_WORDS];
	__u8 pad0[64];
	__u64 magic;
	__u32 version;
	__u32 pad1;
	__u64 ready;
	__u64 owners[2];
	__u64 state;
	__u8 pad2[80];
	struct shmheap_bell replies;
	__u8 pad3[112];
	struct shmheap_bell requests;
	__u8 pad4[112];
};

#ifdef __KERNEL__
#define SHMHEAP_ASSERT(x) static_assert(x)
SHMHEAP_ASSERT(sizeof(void *) == 8); /* words are loaded whole */
#elif defined(__cplusplus)
#define SHMHEAP_ASSERT(x) static_assert(x, #x)
#else
#define SHMHEAP_ASSERT(x) _Static_assert(x, #x)
#endif
SHMHEAP_ASSERT(offsetof(struct shmheap_super, checksum) == 508);
SHMHEAP_ASSERT(offsetof(struct shmheap_super, ready) == 512);
SHMHEAP_ASSERT(sizeof(struct shmheap_root) == 128);
SHMHEAP_ASSERT(sizeof(struct shmheap_queue) == 1024);
SHMHEAP_ASSERT(offsetof(struct shmheap_queue, state) == 128);
SHMHEAP_ASSERT(offsetof(struct shmheap_queue, tail) == 256);
SHMHEAP_ASSERT(offsetof(struct shmheap_queue, head) == 384);
SHMHEAP_ASSERT(offsetof(struct shmheap_queue, pops) == 512);
SHMHEAP_ASSERT(offsetof(struct shmheap_queue, pushes) == 640);
SHMHEAP_ASSERT(sizeof(struct shmheap_hands) == 256);
SHMHEAP_ASSERT(sizeof(struct shmheap_hand) == 256);
SHMHEAP_ASSERT(sizeof(struct shmheap_mailbox) == 512);

#endif
