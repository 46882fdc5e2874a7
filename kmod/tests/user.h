/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What ring.h and check.h need of the kernel, in user space. The atomics are at least as strong as
 * the kernel's.
 */
#ifndef _SHMHEAP_TESTS_USER_H
#define _SHMHEAP_TESTS_USER_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef __UINT64_TYPE__ u64;

#define READ_ONCE(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v) __atomic_store_n(&(x), v, __ATOMIC_RELAXED)
#define smp_load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define smp_store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define xchg(p, v) __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define cmpxchg(p, old, new) user_cmpxchg(p, old, new)
#define cmpxchg_relaxed(p, old, new) user_cmpxchg(p, old, new)

static inline u64 user_cmpxchg(u64 *p, u64 old, u64 new)
{
	__atomic_compare_exchange_n(p, &old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	return old;
}

#endif
