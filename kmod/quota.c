// SPDX-License-Identifier: GPL-2.0
//go:build ignore

/*
 * What each user has: bytes of storage and instances. A user's account lives as long as something
 * is charged to it, the memory that still waits for a grace period included.
 */
#include <linux/atomic.h>
#include <linux/init.h>
#include <linux/limits.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uidgid.h>
#include "quota.h"

static ulong quota_mb = ULONG_MAX;
module_param(quota_mb, ulong, 0644);
MODULE_PARM_DESC(quota_mb, "MiB that a user may have in all instances, 0 for no limit (default: half of memory)");

static uint max_instances = 64;
module_param(max_instances, uint, 0644);
MODULE_PARM_DESC(max_instances, "instances that a user may have, 0 for no limit (default 64)");

struct shmheap_quota {
	struct list_head node;
	kuid_t uid;
	refcount_t refs;
	atomic64_t bytes;
	atomic_t instances;
};

/* Taken with interrupts off, as the last reference may go in an RCU callback. */
static DEFINE_SPINLOCK(quotas_lock);
static LIST_HEAD(quotas);

/* shmheap_quota_init() sets the limit that was not given. */
void __init shmheap_quota_init(void)
{
	if (quota_mb == ULONG_MAX)
		quota_mb = max(totalram_pages() >> (20 - PAGE_SHIFT) >> 1, 1UL);
}

u64 shmheap_quota_limit(void)
{
	return min_t(u64, READ_ONCE(quota_mb), U64_MAX >> 20) << 20;
}

u32 shmheap_quota_max_instances(void)
{
	return READ_ONCE(max_instances);
}

static struct shmheap_quota *find(kuid_t uid)
{
	struct shmheap_quota *q;

	list_for_each_entry(q, &quotas, node)
		if (uid_eq(q->uid, uid))
			return q;
	return NULL;
}

/* shmheap_quota_get() returns a user's account, held, or NULL for want of memory. */
struct shmheap_quota *shmheap_quota_get(kuid_t uid)
{
	struct shmheap_quota *new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
	struct shmheap_quota *q;
	unsigned long flags;

	if (!new)
		return NULL;
	new->uid = uid;
	refcount_set(&new->refs, 1);
	spin_lock_irqsave(&quotas_lock, flags);
	q = find(uid);
	if (q) {
		refcount_inc(&q->refs);
	} else {
		list_add(&new->node, &quotas);
		swap(q, new);
	}
	spin_unlock_irqrestore(&quotas_lock, flags);
	kfree(new);
	return q;
}

struct shmheap_quota *shmheap_quota_hold(struct shmheap_quota *q)
{
	refcount_inc(&q->refs);
	return q;
}

/* Context: any but hard interrupts. */
void shmheap_quota_put(struct shmheap_quota *q)
{
	unsigned long flags;
	bool last;

	if (refcount_dec_not_one(&q->refs))
		return;
	spin_lock_irqsave(&quotas_lock, flags);
	last = refcount_dec_and_test(&q->refs);
	if (last)
		list_del(&q->node);
	spin_unlock_irqrestore(&quotas_lock, flags);
	if (last)
		kfree(q);
}

int shmheap_quota_charge(struct shmheap_quota *q, u64 bytes)
{
	u64 limit = shmheap_quota_limit();
	s64 used = atomic64_read(&q->bytes);

	do {
		if (limit && (bytes > limit || used > limit - bytes))
			return -EDQUOT;
	} while (!atomic64_try_cmpxchg(&q->bytes, &used, used + bytes));
	return 0;
}

void shmheap_quota_uncharge(struct shmheap_quota *q, u64 bytes)
{
	atomic64_sub(bytes, &q->bytes);
}

/* shmheap_quota_enter() counts an instance. */
int shmheap_quota_enter(struct shmheap_quota *q)
{
	u32 most = shmheap_quota_max_instances();
	int n = atomic_read(&q->instances);

	do {
		if (most && n >= most)
			return -EDQUOT;
	} while (!atomic_try_cmpxchg(&q->instances, &n, n + 1));
	return 0;
}

void shmheap_quota_leave(struct shmheap_quota *q)
{
	atomic_dec(&q->instances);
}

u64 shmheap_quota_used(const struct shmheap_quota *q)
{
	return atomic64_read(&q->bytes);
}

u32 shmheap_quota_instances(const struct shmheap_quota *q)
{
	return atomic_read(&q->instances);
}
