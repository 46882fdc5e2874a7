// SPDX-License-Identifier: GPL-2.0
/*
 * sample_slab: kernel objects of a chosen size, on demand. doc/kernel.md, "Samples", says how to
 * use it.
 *
 *	open --CREATE--> a cache --ALLOC, FREE--> objects in a table --close--> nothing left
 *
 * A file has one lock, and all that it owns hangs on it; files share nothing but the number of
 * caches.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/align.h>
#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/log2.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "shmheap_slab.h"

static unsigned int max_caches = 16;
module_param(max_caches, uint, 0444);
MODULE_PARM_DESC(max_caches, "caches that there may be at once");

static unsigned long max_bytes = 16UL << 20;
module_param(max_bytes, ulong, 0444);
MODULE_PARM_DESC(max_bytes, "bytes of objects that one open file may have");

static unsigned long max_objects = 1UL << 20;
module_param(max_objects, ulong, 0444);
MODULE_PARM_DESC(max_objects, "objects that one open file may have");

static atomic_t caches;
static DEFINE_IDA(ids);

/*
 * Objects are aligned to words, so the low bit of a slot is free to say that the object was
 * filled.
 */
#define FILLED 1UL

/* What an open file has. */
struct pool {
	struct mutex lock; /* of all of it */
	struct kmem_cache *cache; /* NULL until CREATE */
	int id;
	u32 size;
	unsigned long *slots; /* addresses and FILLED, 0 for an empty one */
	size_t capacity; /* of slots */
	size_t used; /* slots before this one have been used */
	size_t lowest; /* slots before this one are not empty */
	size_t most; /* objects it may have */
	size_t live; /* objects it has: allocated == live + freed */
	u64 allocated;
	u64 freed;
};

static const struct {
	u32 ours;
	slab_flags_t kernels;
} cache_flags[] = {
	{ SHMHEAP_SLAB_HWCACHE_ALIGN, SLAB_HWCACHE_ALIGN },
	{ SHMHEAP_SLAB_RECLAIM_ACCOUNT, SLAB_RECLAIM_ACCOUNT },
	{ SHMHEAP_SLAB_ACCOUNT, SLAB_ACCOUNT },
	{ SHMHEAP_SLAB_TYPESAFE_BY_RCU, SLAB_TYPESAFE_BY_RCU },
	{ SHMHEAP_SLAB_POISON, SLAB_POISON },
	{ SHMHEAP_SLAB_RED_ZONE, SLAB_RED_ZONE },
	{ SHMHEAP_SLAB_STORE_USER, SLAB_STORE_USER },
	{ SHMHEAP_SLAB_CONSISTENCY_CHECKS, SLAB_CONSISTENCY_CHECKS },
};

/* Kernels before 6.5 lack this: see make_cache(). */
#ifndef SLAB_NO_MERGE
#define SLAB_NO_MERGE 0
#endif

static slab_flags_t kernel_flags(u32 flags)
{
	slab_flags_t f = SLAB_NO_MERGE;
	int i;

	for (i = 0; i < ARRAY_SIZE(cache_flags); i++)
		if (flags & cache_flags[i].ours)
			f |= cache_flags[i].kernels;
	return f;
}

static bool create_ok(const struct shmheap_slab_create *c)
{
	return c->size >= SHMHEAP_SLAB_MIN_SIZE && c->size <= SHMHEAP_SLAB_MAX_SIZE &&
	       c->align <= SHMHEAP_SLAB_MAX_ALIGN && (!c->align || is_power_of_2(c->align)) &&
	       !(c->flags & ~SHMHEAP_SLAB_FLAGS) && !c->pad;
}

/*
 * Caches of equal size are merged unless something tells them apart, and then nobody sees them.
 * Caches whose objects may be copied to programs are not merged either; that has no other effect,
 * and older kernels have nothing better.
 */
static int make_cache(struct pool *p, const struct shmheap_slab_create *c)
{
	char name[32]; /* is copied */

	p->id = ida_alloc(&ids, GFP_KERNEL);
	if (p->id < 0)
		return p->id;
	snprintf(name, sizeof(name), "shmheap_slab-%d", p->id);
	p->cache = kmem_cache_create_usercopy(name, c->size, c->align, kernel_flags(c->flags), 0,
					      c->size, NULL);
	if (p->cache)
		return 0;
	ida_free(&ids, p->id);
	return -ENOMEM;
}

static long pool_create(struct pool *p, struct shmheap_slab_create *c)
{
	int err;

	if (!create_ok(c))
		return -EINVAL;
	if (p->cache)
		return -EBUSY;
	if (!atomic_add_unless(&caches, 1, max_caches))
		return -ENOSPC;
	err = make_cache(p, c);
	if (err) {
		atomic_dec(&caches);
		return err;
	}
	p->size = c->size;
	p->most = min(max_objects, max_bytes / ALIGN(c->size, c->align ?: sizeof(long)));
	c->id = p->id;
	c->max_objects = p->most;
	return 0;
}

/* pool_grow() makes room for another object behind the used slots. */
static int pool_grow(struct pool *p)
{
	size_t capacity = min(p->most, max_t(size_t, 2 * p->capacity, 512));
	unsigned long *slots;

	if (p->used < p->capacity)
		return 0;
	if (p->capacity >= p->most)
		return -ENOSPC;
	slots = kvcalloc(capacity, sizeof(*slots), GFP_KERNEL_ACCOUNT);
	if (!slots)
		return -ENOMEM;
	if (p->used)
		memcpy(slots, p->slots, p->used * sizeof(*slots));
	kvfree(p->slots);
	p->slots = slots;
	p->capacity = capacity;
	return 0;
}

/* pool_slot() returns the empty slot with the lowest number. */
static long pool_slot(struct pool *p)
{
	int err;

	while (p->lowest < p->used && p->slots[p->lowest])
		p->lowest++;
	if (p->lowest == p->used) {
		err = pool_grow(p);
		if (err)
			return err;
		p->used++;
	}
	return p->lowest;
}

/* Every object has content of its own, so that one that is written over by another shows. */
static u8 pattern(const struct pool *p, size_t slot)
{
	return (slot * 7 + p->id * 31 + 1) & 0xff;
}

static int alloc_one(struct pool *p, u32 how, gfp_t gfp)
{
	long slot = pool_slot(p);
	void *object;

	if (slot < 0)
		return slot;
	object = kmem_cache_alloc(p->cache, gfp);
	if (!object)
		return -ENOMEM;
	p->slots[slot] = (unsigned long)object;
	if (how & SHMHEAP_SLAB_FILL) {
		memset(object, pattern(p, slot), p->size);
		p->slots[slot] |= FILLED;
	}
	p->live++;
	p->allocated++;
	return 0;
}

static long pool_alloc(struct pool *p, struct shmheap_slab_alloc *a)
{
	/*
	 * A program may ask for more than there is: that is its affair and not worth killing
	 * others.
	 */
	gfp_t gfp = __GFP_NOWARN | __GFP_NORETRY;
	int err;

	a->done = 0;
	if (a->how & ~SHMHEAP_SLAB_HOW || a->pad)
		return -EINVAL;
	if (!p->cache)
		return -ENXIO;
	gfp |= a->how & SHMHEAP_SLAB_NOWAIT ? GFP_NOWAIT : GFP_KERNEL;
	if (a->how & SHMHEAP_SLAB_ZERO)
		gfp |= __GFP_ZERO;
	for (; a->done < a->count; a->done++) {
		if (p->live >= p->most)
			return -ENOSPC;
		if (fatal_signal_pending(current))
			return -EINTR;
		err = alloc_one(p, a->how, gfp);
		if (err)
			return err;
		cond_resched();
	}
	return 0;
}

/* free_one() empties a slot. It reports whether the object was still as it was filled. */
static bool free_one(struct pool *p, size_t slot)
{
	void *object = (void *)(p->slots[slot] & ~FILLED);
	bool same = true;

	if (p->slots[slot] & FILLED)
		same = !memchr_inv(object, pattern(p, slot), p->size);
	kmem_cache_free(p->cache, object);
	p->slots[slot] = 0;
	p->lowest = min(p->lowest, slot);
	p->live--;
	p->freed++;
	return same;
}

static long pool_free(struct pool *p, struct shmheap_slab_free *f)
{
	u64 slot;

	f->done = 0;
	f->changed = 0;
	if (!f->stride)
		return -EINVAL;
	if (!p->cache)
		return -ENXIO;
	for (slot = f->first; slot < p->used && f->done < f->count; slot += f->stride) {
		if (p->slots[slot]) {
			f->changed += !free_one(p, slot);
			f->done++;
		}
		if (f->stride >= p->used) /* and the sum must not overflow */
			break;
		cond_resched();
	}
	return f->changed ? -EILSEQ : 0;
}

static long pool_stat(struct pool *p, struct shmheap_slab_stat *s)
{
	if (!p->cache)
		return -ENXIO;
	s->id = p->id;
	s->size = p->size;
	s->live = p->live;
	s->slots = p->used;
	s->allocated = p->allocated;
	s->freed = p->freed;
	s->caches = atomic_read(&caches);
	return 0;
}

union argument {
	struct shmheap_slab_create create;
	struct shmheap_slab_alloc alloc;
	struct shmheap_slab_free free;
	struct shmheap_slab_stat stat;
};

static long pool_call(struct pool *p, unsigned int cmd, union argument *a)
{
	switch (cmd) {
	case SHMHEAP_SLAB_IOC_CREATE:
		return pool_create(p, &a->create);
	case SHMHEAP_SLAB_IOC_ALLOC:
		return pool_alloc(p, &a->alloc);
	case SHMHEAP_SLAB_IOC_FREE:
		return pool_free(p, &a->free);
	case SHMHEAP_SLAB_IOC_STAT:
		return pool_stat(p, &a->stat);
	}
	return -ENOTTY;
}

static bool known(unsigned int cmd)
{
	return cmd == SHMHEAP_SLAB_IOC_CREATE || cmd == SHMHEAP_SLAB_IOC_ALLOC ||
	       cmd == SHMHEAP_SLAB_IOC_FREE || cmd == SHMHEAP_SLAB_IOC_STAT;
}

/* The number of a call says how long its argument is, so one of another size is another call. */
static long slab_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct pool *p = file->private_data;
	void __user *user = (void __user *)arg;
	union argument a = {};
	long err;

	if (!known(cmd))
		return -ENOTTY;
	if (_IOC_DIR(cmd) & _IOC_WRITE && copy_from_user(&a, user, _IOC_SIZE(cmd)))
		return -EFAULT;
	if (mutex_lock_killable(&p->lock))
		return -EINTR;
	err = pool_call(p, cmd, &a);
	mutex_unlock(&p->lock);
	if (err != -EINVAL && copy_to_user(user, &a, _IOC_SIZE(cmd)))
		return -EFAULT;
	return err;
}

static int slab_open(struct inode *inode, struct file *file)
{
	struct pool *p = kzalloc(sizeof(*p), GFP_KERNEL_ACCOUNT);

	if (!p)
		return -ENOMEM;
	mutex_init(&p->lock);
	file->private_data = p;
	return stream_open(inode, file);
}

/* No descriptor of the file is left, so nobody else has the pool. */
static int slab_release(struct inode *inode, struct file *file)
{
	struct pool *p = file->private_data;
	size_t slot;

	for (slot = 0; slot < p->used; slot++) {
		if (p->slots[slot])
			free_one(p, slot);
		cond_resched();
	}
	WARN_ON_ONCE(p->live || p->allocated != p->freed);
	kmem_cache_destroy(p->cache);
	if (p->cache) {
		ida_free(&ids, p->id);
		atomic_dec(&caches);
	}
	kvfree(p->slots);
	mutex_destroy(&p->lock);
	kfree(p);
	return 0;
}

static const struct file_operations slab_fops = {
	.owner = THIS_MODULE,
	.open = slab_open,
	.release = slab_release,
	.unlocked_ioctl = slab_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice slab_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "shmheap_slab",
	.fops = &slab_fops,
	.mode = 0600,
};
module_misc_device(slab_device);

MODULE_DESCRIPTION("Kernel objects of a chosen size, on demand");
MODULE_LICENSE("GPL");
