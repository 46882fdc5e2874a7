/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Judgement of what programs say: plain functions of private copies, which compile in user space
 * too, where tests fuzz them.
 */
#ifndef _SHMHEAP_CHECK_H
#define _SHMHEAP_CHECK_H

#ifdef __KERNEL__
#include <linux/errno.h>
#include <linux/types.h>
#else
#include "tests/user.h"
#endif
#include "uapi/shmheap_kmod.h"

/* Queues as package queue makes them: see its layout.go. */
#define SHMHEAP_QUEUE_ALIGN 128
#define SHMHEAP_MIN_ORDER 1
#define SHMHEAP_MAX_ORDER 24
#define SHMHEAP_MAX_HANDLES 1024
#define SHMHEAP_MIN_BLOCK 32
#define SHMHEAP_MAX_BLOCK (1U << 20)

/* What a queue begins with: as much of struct shmheap_queue as is judged. */
struct shmheap_first_line {
	u64 magic;
	u32 version;
	u32 kind;
	u32 order;
	u32 handles;
	u64 table;
	u64 slots;
	u64 size;
	u64 hands;
	u64 record;
};

SHMHEAP_ASSERT(sizeof(struct shmheap_first_line) == offsetof(struct shmheap_queue, pad0));
SHMHEAP_ASSERT(offsetof(struct shmheap_first_line, hands) == offsetof(struct shmheap_queue, hands));

/* The kernel's own geometry of a queue, by which it goes once the first line has been judged. */
struct shmheap_geometry {
	u64 slots; /* from the header */
	u64 bytes; /* of the queue */
	u32 order;
	u32 kind;
};

/* shmheap_inside() reports whether len bytes at off are in a region of that many bytes. */
static inline bool shmheap_inside(u64 bytes, u64 off, u64 len)
{
	return off <= bytes && len <= bytes - off;
}

/*
 * shmheap_element_ok() reports whether an element of a queue is an offset with a block behind it.
 */
static inline bool shmheap_element_ok(u64 bytes, u64 off, u64 block)
{
	return off != 0 && off % SHMHEAP_SLOT_UNIT == 0 &&
	       shmheap_inside(bytes, off, block ? block : SHMHEAP_SLOT_UNIT);
}

static inline u64 shmheap_slots_at(u32 handles)
{
	u64 end = sizeof(struct shmheap_queue) + (u64)handles * 8;

	return (end + SHMHEAP_QUEUE_ALIGN - 1) / SHMHEAP_QUEUE_ALIGN * SHMHEAP_QUEUE_ALIGN;
}

static inline bool shmheap_header_ok(const struct shmheap_first_line *h)
{
	return h->magic == SHMHEAP_QUEUE_MAGIC && h->version == SHMHEAP_QUEUE_VERSION &&
	       h->kind >= SHMHEAP_SPSC && h->kind <= SHMHEAP_BROADCAST &&
	       h->order >= SHMHEAP_MIN_ORDER && h->order <= SHMHEAP_MAX_ORDER &&
	       h->handles >= 2 && h->handles <= SHMHEAP_MAX_HANDLES &&
	       h->table == sizeof(struct shmheap_queue) &&
	       h->slots == shmheap_slots_at(h->handles);
}

/*
 * shmheap_check_queue() judges a private copy of a header that was read at off, whose ready word
 * was right before. EBADMSG for no queue, EOPNOTSUPP for one that the kernel cannot use, EFAULT
 * for one that is not inside the region.
 */
static inline int shmheap_check_queue(const struct shmheap_first_line *h, u64 bytes, u64 off,
				      struct shmheap_geometry *g)
{
	if (!shmheap_header_ok(h))
		return -EBADMSG;
	if (h->kind == SHMHEAP_BROADCAST || h->hands)
		return -EOPNOTSUPP;
	if (h->record != 8 || h->size != h->slots + (8ULL << h->order))
		return -EBADMSG;
	if (off % SHMHEAP_QUEUE_ALIGN || off == 0 || !shmheap_inside(bytes, off, h->size))
		return -EFAULT;
	g->slots = h->slots;
	g->bytes = h->size;
	g->order = h->order;
	g->kind = h->kind;
	return 0;
}

static inline bool shmheap_block_ok(u32 block)
{
	return block % 8 == 0 && block >= SHMHEAP_MIN_BLOCK && block <= SHMHEAP_MAX_BLOCK;
}

/* shmheap_message_ok() judges a private copy of the header of a message in a block. */
static inline bool shmheap_message_ok(const struct shmheap_message *m, u32 block)
{
	return block >= sizeof(*m) && m->bytes <= block - sizeof(*m);
}

/*
 * shmheap_name_ok() reports whether a name is a file's, and ended by a zero behind which nothing
 * is.
 */
static inline bool shmheap_name_ok(const u8 name[SHMHEAP_NAME_SIZE])
{
	int i, n;

	for (n = 0; n < SHMHEAP_NAME_SIZE && name[n]; n++)
		if (name[n] <= ' ' || name[n] > '~' || name[n] == '/')
			return false;
	for (i = n; i < SHMHEAP_NAME_SIZE; i++)
		if (name[i])
			return false;
	return n > 0 && n < SHMHEAP_NAME_SIZE;
}

/* shmheap_region_ok() reports whether a region may be there, where addresses end at limit. */
static inline bool shmheap_region_ok(u64 base, u64 bytes, u64 limit)
{
	if (!bytes)
		return !base;
	return base && base % SHMHEAP_GRANULE == 0 && bytes % SHMHEAP_GRANULE == 0 &&
	       bytes <= SHMHEAP_MAX_BYTES && shmheap_inside(limit, base, bytes);
}

/* shmheap_stream_ok() reports whether a stream may be like that, or is not asked for. */
static inline bool shmheap_stream_ok(u32 slot, u32 order)
{
	if (!slot)
		return !order;
	return slot >= 64 && slot <= 4096 && (slot & (slot - 1)) == 0 && order >= 1 && order <= 16;
}

#endif
