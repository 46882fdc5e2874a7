/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's side of a queue of package queue: doc/format.md has the words, the package's
 * documentation the protocol. It compiles in user space too, where tests run it beside threads and
 * nonsense.
 *
 *	             push: CAS                      pop: CAS
 *	empty, lap 7 ----------> full, lap 7, offset --------> empty, lap 8
 *
 * A push or a pop is one compare-and-swap, so that contexts may interrupt each other at any
 * instruction. Where the kernel is in the queue it knows by two cursors of its own; programs
 * cannot write them, and they are hints too: the slots say what is true. Slots and the shared
 * hints are hostile: each is loaded once, used under a mask, and a call looks at SHMHEAP_LOOKS
 * slots at most.
 *
 * Order. A successful compare-and-swap is a full barrier. As a push it publishes what was stored
 * before to whoever loads the slot with acquire (shmheap_ring_pop here, Consumer.TryPop in Go).
 * The acquire in shmheap_ring_pop pairs with the release store or compare-and-swap in
 * Producer.TryPush.
 */
#ifndef _SHMHEAP_RING_H
#define _SHMHEAP_RING_H

#include "check.h"
#ifdef __KERNEL__
#include <linux/atomic.h>
#include <linux/compiler.h>
#endif

/* How many slots a call looks at. A laggard finds its place by hints, or in the next calls. */
#define SHMHEAP_LOOKS 64

#define SHMHEAP_GRANULE_SHIFT 16

/**
 * struct shmheap_ring - the kernel's private knowledge of a queue
 * @chunks: the kernel's addresses of the granules that the queue is in
 * @at: of the header, in the first of them
 * @slots: of the slots, likewise
 * @order: log2 of their number
 * @block: bytes behind an element
 * @bytes: of the region
 * @tail: cursor of pushes
 * @head: cursor of pops; of the program's where the kernel only looks
 * @lost: about how often the slots did not bear a cursor out
 */
struct shmheap_ring {
	void **chunks;
	u64 at;
	u64 slots;
	u32 order;
	u32 block;
	u64 bytes;
	u64 tail;
	u64 head;
	u64 lost;
};

/* What a slot says of a position. */
enum shmheap_phase {
	SHMHEAP_BEHIND, /* its last lap has not come yet: the cursor is ahead of the truth */
	SHMHEAP_LAGGING, /* it holds the element of the lap before */
	SHMHEAP_FREE, /* it is free for the position */
	SHMHEAP_FILLED, /* it holds the position's element */
	SHMHEAP_PASSED, /* the position's element has been popped */
};

static inline u64 *shmheap_ring_at(const struct shmheap_ring *r, u64 at)
{
	return r->chunks[at >> SHMHEAP_GRANULE_SHIFT] + (at & (SHMHEAP_GRANULE - 1));
}

#define shmheap_ring_word(r, field) \
	shmheap_ring_at(r, (r)->at + offsetof(struct shmheap_queue, field))

static inline u64 *shmheap_ring_slot(const struct shmheap_ring *r, u64 pos)
{
	return shmheap_ring_at(r, r->slots + (pos & ((1ULL << r->order) - 1)) * 8);
}

/* Positions count modulo this mask, plus 1. */
static inline u64 shmheap_ring_mask(const struct shmheap_ring *r)
{
	return ((SHMHEAP_SLOT_LAP_MASK + 1) << r->order) - 1;
}

static inline u64 shmheap_lap_of(u64 w)
{
	return w >> SHMHEAP_SLOT_LAP_SHIFT & SHMHEAP_SLOT_LAP_MASK;
}

/* shmheap_laps() is how many laps a slot is ahead of a position, negative when it is behind. */
static inline int shmheap_laps(const struct shmheap_ring *r, u64 w, u64 pos)
{
	int d = (shmheap_lap_of(w) - (pos >> r->order)) & SHMHEAP_SLOT_LAP_MASK;

	return d > (int)SHMHEAP_SLOT_LAP_MASK / 2 ? d - (int)SHMHEAP_SLOT_LAP_MASK - 1 : d;
}

static inline enum shmheap_phase shmheap_phase_of(const struct shmheap_ring *r, u64 w, u64 pos)
{
	int d = shmheap_laps(r, w, pos);

	if (d == 0)
		return w & SHMHEAP_SLOT_FULL ? SHMHEAP_FILLED : SHMHEAP_FREE;
	if (d > 0)
		return SHMHEAP_PASSED;
	return d == -1 && (w & SHMHEAP_SLOT_FULL) ? SHMHEAP_LAGGING : SHMHEAP_BEHIND;
}

/* shmheap_to_lap() moves a position to the lap whose element the slot holds, or held last. */
static inline u64 shmheap_to_lap(const struct shmheap_ring *r, u64 w, u64 pos)
{
	u64 lap = shmheap_lap_of(w) - !(w & SHMHEAP_SLOT_FULL);

	return (lap << r->order | (pos & ((1ULL << r->order) - 1))) & shmheap_ring_mask(r);
}

/* shmheap_from_start() is a place that the first slot bears out, whatever that says. */
static inline u64 shmheap_from_start(struct shmheap_ring *r)
{
	u64 w = READ_ONCE(*shmheap_ring_slot(r, 0));

	WRITE_ONCE(r->lost, READ_ONCE(r->lost) + 1);
	return (((shmheap_lap_of(w) - 1) << r->order) + 1) & shmheap_ring_mask(r);
}

/*
 * shmheap_plausible() reports whether the slot before a position says that its side has been
 * there.
 */
static inline bool shmheap_plausible(const struct shmheap_ring *r, u64 pos, bool push)
{
	u64 before = (pos - 1) & shmheap_ring_mask(r);
	u64 w = READ_ONCE(*shmheap_ring_slot(r, before));
	enum shmheap_phase p = shmheap_phase_of(r, w, before);

	return shmheap_laps(r, w, before) <= 1 &&
	       (p == SHMHEAP_PASSED || (p == SHMHEAP_FILLED && push));
}

/* shmheap_catch_up() is the place that a shared hint leads to, or pos itself. */
static inline u64 shmheap_catch_up(const struct shmheap_ring *r, u64 pos, u64 hint, bool push)
{
	u64 d = (hint - pos) & shmheap_ring_mask(r);

	hint &= shmheap_ring_mask(r);
	if (d > 0 && d <= 1ULL << r->order && shmheap_plausible(r, hint, push))
		return hint;
	return pos;
}

static inline bool shmheap_ahead(const struct shmheap_ring *r, u64 pos, u64 than)
{
	u64 d = (pos - than) & shmheap_ring_mask(r);

	return d > 0 && d <= shmheap_ring_mask(r) / 2;
}

/*
 * shmheap_ring_note() moves a cursor that was at from, unless somebody else has moved it since: a
 * context that was interrupted in between never moves it back.
 */
static inline void shmheap_ring_note(u64 *cursor, u64 from, u64 to)
{
	if (from != to)
		cmpxchg_relaxed(cursor, from, to);
}

/* shmheap_ring_hint() tells programs once in a line of slots how far the kernel is. */
static inline void shmheap_ring_hint(const struct shmheap_ring *r, u64 *hint, u64 pos)
{
	if (pos % 8 == 0 && shmheap_ahead(r, pos, READ_ONCE(*hint)))
		smp_store_release(hint, pos); /* pairs with the loads of hints in Go's catchUp */
}

/*
 * shmheap_ring_seek() sets the cursors of a new ring from its hints, as far as the slots bear them
 * out.
 */
static inline void shmheap_ring_seek(struct shmheap_ring *r)
{
	u64 mask = shmheap_ring_mask(r);
	u64 tail = READ_ONCE(*shmheap_ring_word(r, tail)) & mask;
	u64 head = READ_ONCE(*shmheap_ring_word(r, head)) & mask;

	r->tail = shmheap_plausible(r, tail, true) ? tail : shmheap_from_start(r);
	r->head = shmheap_plausible(r, head, false) ? head : shmheap_from_start(r);
	r->lost = 0;
}

static inline bool shmheap_ring_closed(const struct shmheap_ring *r)
{
	return READ_ONCE(*shmheap_ring_word(r, state)) & SHMHEAP_QUEUE_CLOSED;
}

/*
 * shmheap_ring_room() finds the next free slot and what is in it. 0, ENOSPC when there is none,
 * EAGAIN when it was not found.
 */
static inline int shmheap_ring_room(struct shmheap_ring *r, u64 *from, u64 *pos, u64 *seen)
{
	u64 *hint = shmheap_ring_word(r, tail);
	int i;

	*from = READ_ONCE(r->tail);
	*pos = *from;
	for (i = 0; i < SHMHEAP_LOOKS; i++) {
		*seen = READ_ONCE(*shmheap_ring_slot(r, *pos));
		switch (shmheap_phase_of(r, *seen, *pos)) {
		case SHMHEAP_FREE:
			return 0;
		case SHMHEAP_LAGGING:
			shmheap_ring_note(&r->tail, *from, *pos);
			return -ENOSPC;
		case SHMHEAP_BEHIND:
			*pos = shmheap_from_start(r);
			break;
		default:
			*pos = (shmheap_to_lap(r, *seen, *pos) + 1) & shmheap_ring_mask(r);
			*pos = shmheap_catch_up(r, *pos, READ_ONCE(*hint), true);
		}
	}
	shmheap_ring_note(&r->tail, *from, *pos);
	return -EAGAIN;
}

/*
 * shmheap_ring_push() pushes an offset that is good. 0, ENOSPC, EAGAIN, EPIPE when the queue is
 * closed.
 */
static inline int shmheap_ring_push(struct shmheap_ring *r, u64 off)
{
	u64 from, pos, seen, full;
	int i, err;

	for (i = 0; i < SHMHEAP_LOOKS; i++) {
		if (shmheap_ring_closed(r))
			return -EPIPE;
		err = shmheap_ring_room(r, &from, &pos, &seen);
		if (err)
			return err;
		full = shmheap_slot_full(pos, r->order, off);
		if (cmpxchg(shmheap_ring_slot(r, pos), seen, full) == seen) {
			pos = (pos + 1) & shmheap_ring_mask(r);
			shmheap_ring_note(&r->tail, from, pos);
			shmheap_ring_hint(r, shmheap_ring_word(r, tail), pos);
			return 0;
		}
	}
	return -EAGAIN;
}

/* shmheap_ring_skip() is where to look behind a position that somebody has popped. */
static inline u64 shmheap_ring_skip(const struct shmheap_ring *r, u64 seen, u64 pos)
{
	u64 lap = 1ULL << r->order;

	pos = shmheap_to_lap(r, seen, pos);
	if (seen & SHMHEAP_SLOT_FULL) /* of a later lap: the element before it has been popped */
		pos -= lap;
	pos = (pos + 1) & shmheap_ring_mask(r);
	return shmheap_catch_up(r, pos, READ_ONCE(*shmheap_ring_word(r, head)), false);
}

/*
 * shmheap_ring_first() finds the first element, full or not. 0, ENODATA when there is none, EAGAIN
 * when it was not found.
 */
static inline int shmheap_ring_first(struct shmheap_ring *r, u64 *from, u64 *pos, u64 *seen)
{
	int i;

	*from = READ_ONCE(r->head);
	*pos = *from;
	for (i = 0; i < SHMHEAP_LOOKS; i++) {
		/* pairs with the release, or compare-and-swap, of a push */
		*seen = smp_load_acquire(shmheap_ring_slot(r, *pos));
		switch (shmheap_phase_of(r, *seen, *pos)) {
		case SHMHEAP_FILLED:
			return 0;
		case SHMHEAP_FREE:
			shmheap_ring_note(&r->head, *from, *pos);
			return -ENODATA;
		case SHMHEAP_PASSED:
			*pos = shmheap_ring_skip(r, *seen, *pos);
			break;
		default:
			*pos = shmheap_from_start(r);
		}
	}
	shmheap_ring_note(&r->head, *from, *pos);
	return -EAGAIN;
}

/* shmheap_ring_nothing() tells why there is no element. */
static inline int shmheap_ring_nothing(const struct shmheap_ring *r, int err)
{
	return err == -ENODATA && shmheap_ring_closed(r) ? -EPIPE : err;
}

/*
 * shmheap_ring_pop() pops an element. 0; ENODATA; EAGAIN; EPIPE at the end of a closed queue;
 * EBADMSG for an element that is no offset, which has been popped too.
 */
static inline int shmheap_ring_pop(struct shmheap_ring *r, u64 *off)
{
	u64 from, pos, seen, empty;
	int i, err;

	for (i = 0; i < SHMHEAP_LOOKS; i++) {
		err = shmheap_ring_first(r, &from, &pos, &seen);
		if (err)
			return shmheap_ring_nothing(r, err);
		*off = (seen & SHMHEAP_SLOT_VALUE_MASK) * SHMHEAP_SLOT_UNIT;
		if (!*off)
			return -EPIPE;
		empty = shmheap_slot_empty(pos + (1ULL << r->order), r->order) |
			(seen & SHMHEAP_SLOT_BY_MASK);
		if (cmpxchg(shmheap_ring_slot(r, pos), seen, empty) == seen) {
			pos = (pos + 1) & shmheap_ring_mask(r);
			shmheap_ring_note(&r->head, from, pos);
			shmheap_ring_hint(r, shmheap_ring_word(r, head), pos);
			return shmheap_element_ok(r->bytes, *off, r->block) ? 0 : -EBADMSG;
		}
	}
	return -EAGAIN;
}

/*
 * shmheap_ring_look() looks for an element without popping it, for the kernel. 0; ENODATA, at the
 * end of a closed queue too; EAGAIN.
 */
static inline int shmheap_ring_look(struct shmheap_ring *r)
{
	u64 from, pos, seen;
	int err = shmheap_ring_first(r, &from, &pos, &seen);

	if (err)
		return err;
	return seen & SHMHEAP_SLOT_VALUE_MASK ? 0 : -ENODATA;
}

/*
 * shmheap_ring_readable() reports whether a program could pop, or learn that the queue is closed.
 */
static inline bool shmheap_ring_readable(struct shmheap_ring *r)
{
	u64 from, pos, seen;

	return shmheap_ring_first(r, &from, &pos, &seen) != -ENODATA || shmheap_ring_closed(r);
}

/*
 * shmheap_ring_writable() reports whether a program could push, or learn that the queue is closed.
 */
static inline bool shmheap_ring_writable(struct shmheap_ring *r)
{
	u64 from, pos, seen;

	return shmheap_ring_room(r, &from, &pos, &seen) != -ENOSPC || shmheap_ring_closed(r);
}

/*
 * shmheap_ring_listen() announces that the kernel sleeps: a producer with Notify kicks after its
 * next push. What is looked at behind it is not older than what such a producer has pushed that
 * has not seen the announcement: the exchange is a full barrier, and pairs with the one between a
 * push and the look at Watch in Producer.wake.
 */
static inline void shmheap_ring_listen(const struct shmheap_ring *r)
{
	xchg(shmheap_ring_word(r, watch), 1ULL);
}

/*
 * shmheap_ring_heard() reports whether a program wants to be told of a push, and takes the wish.
 * The push before it was a full barrier, which pairs with the exchange in Watch.Arm.
 */
static inline bool shmheap_ring_heard(const struct shmheap_ring *r)
{
	u64 *watch = shmheap_ring_word(r, watch);

	return READ_ONCE(*watch) && xchg(watch, 0ULL);
}

#endif
