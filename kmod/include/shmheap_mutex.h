/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's side of a lock that it shares with programs (package lock's Mutex).
 *
 * A program may hold such a lock for as long as it likes, be stopped with it, or write nonsense
 * into it. So the kernel never waits for it: it tries, and when it fails does what it wanted
 * later, from a work or when something else happens. It holds the lock with interrupts off and for
 * a few instructions. What the lock protects must be safe against a program that ignores it.
 *
 * The kernel cannot wake those who sleep on the lock's futex. It leaves the bit that says so, and
 * the next program that unlocks wakes them; without one they look again themselves, at latest
 * after half a second.
 *
 * None of these functions loops, so a program that keeps changing the word cannot keep them. All
 * may be called in any context; the word must be in memory of the kernel's own, normal and cached.
 */
#ifndef _SHMHEAP_MUTEX_H
#define _SHMHEAP_MUTEX_H

#include <linux/atomic.h>
#include <linux/errno.h>
#include <linux/types.h>

#include "shmheap_lock.h"

static inline atomic64_t *shmheap_mutex_word(struct shmheap_mutex *m)
{
	return (atomic64_t *)&m->word;
}

/**
 * shmheap_mutex_trylock() - take the lock if it is free
 * @m: the lock
 *
 * Pairs with the unlock of whoever had it before: what that one has written is seen.
 *
 * Return: 0; -EOWNERDEAD with the lock, when what it protects may be half changed: see
 * shmheap_mutex_consistent(); -EBUSY; -ENOTRECOVERABLE.
 */
static inline int shmheap_mutex_trylock(struct shmheap_mutex *m)
{
	s64 w = atomic64_read(shmheap_mutex_word(m));

	if (w & SHMHEAP_MUTEX_LOST)
		return -ENOTRECOVERABLE;
	if (w & SHMHEAP_MUTEX_OWNER)
		return -EBUSY;
	if (!atomic64_try_cmpxchg(shmheap_mutex_word(m), &w,
				  (w & ~SHMHEAP_MUTEX_TURN) | SHMHEAP_PEER_KERNEL))
		return -EBUSY;
	return w & SHMHEAP_MUTEX_DAMAGED ? -EOWNERDEAD : 0;
}

/**
 * shmheap_mutex_consistent() - say that what the lock protects is in order again
 * @m: the lock, which the kernel has
 */
static inline void shmheap_mutex_consistent(struct shmheap_mutex *m)
{
	atomic64_andnot(SHMHEAP_MUTEX_DAMAGED, shmheap_mutex_word(m));
}

/**
 * shmheap_mutex_unlock() - give the lock back
 * @m: the lock, which the kernel has
 *
 * Pairs with the compare-and-swap of whoever takes it next.
 *
 * Return: 0; -EPERM when a program has changed the owner meanwhile: what the lock protects may have
 * been changed by another one too.
 */
static inline int shmheap_mutex_unlock(struct shmheap_mutex *m)
{
	u64 w = atomic64_xchg(shmheap_mutex_word(m), 0);
	u64 keep = w & SHMHEAP_MUTEX_WAITING;

	if (w & SHMHEAP_MUTEX_DAMAGED)
		keep |= SHMHEAP_MUTEX_LOST;
	if (keep)
		atomic64_or(keep, shmheap_mutex_word(m));
	return (w & SHMHEAP_MUTEX_OWNER) == SHMHEAP_PEER_KERNEL ? 0 : -EPERM;
}

/**
 * shmheap_mutex_bury() - take the lock away from a peer that has died
 * @m: the lock
 * @peer: who died
 *
 * For those who learn of a death sooner than programs do, as from the release of its file. The
 * next one to lock is told that the owner died.
 *
 * Return: whether the peer had the lock.
 */
static inline bool shmheap_mutex_bury(struct shmheap_mutex *m, u64 peer)
{
	int i;

	/*
	 * Programs that wait set two bits at most; more changes than that are not theirs to make.
	 */
	for (i = 0; i < 4; i++) {
		s64 w = atomic64_read(shmheap_mutex_word(m));

		if ((w & SHMHEAP_MUTEX_OWNER) != peer)
			return false;
		if (atomic64_try_cmpxchg(shmheap_mutex_word(m), &w,
					 (w & ~SHMHEAP_MUTEX_OWNER) | SHMHEAP_MUTEX_DAMAGED))
			return true;
	}
	return false;
}

#endif
