// SPDX-License-Identifier: GPL-2.0
//go:build ignore

/*
 * The storage of a region: granules of 64 KiB, zeroed, physically contiguous, made when they are
 * first touched or asked for.
 *
 *	none --fault, fallocate, pin--> stored <--pin, unpin--> pinned
 *	  ^                               |
 *	  +------------punch--------------+
 *
 * Programs see pages that a fault inserts. The kernel finds granules through a table of two levels
 * under RCU, in any context, and so has no mapping of the whole. A granule that is punched leaves
 * the table and all mappings first; its memory goes, and is no longer charged, a grace period
 * later.
 *
 * Inserting pages under the lock (for reading) and punching under it (for writing) is what keeps a
 * fault from inserting a page that has just been taken away.
 */
#include <linux/bits.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include "check.h"
#include "quota.h"
#include "ring.h"
#include "store.h"

#define GRANULE_ORDER (SHMHEAP_GRANULE_SHIFT - PAGE_SHIFT)
#define GRANULE_PAGES BIT(GRANULE_ORDER)
#define LEAF_SHIFT 9
#define LEAF BIT(LEAF_SHIFT)
#define LEAF_BYTES (LEAF * sizeof(struct shmheap_granule *))

static_assert(PAGE_SHIFT <= SHMHEAP_GRANULE_SHIFT);

struct shmheap_granule {
	struct page *page; /* the first of GRANULE_PAGES, each with a life of its own */
	void *addr;
	struct shmheap_quota *quota;
	unsigned int pins; /* under the store's lock, for writing */
	struct rcu_head rcu;
};

int shmheap_store_init(struct shmheap_store *s, u64 bytes, struct shmheap_quota *quota,
		       struct inode *inode)
{
	u64 leaves = DIV_ROUND_UP(bytes >> SHMHEAP_GRANULE_SHIFT, LEAF);

	init_rwsem(&s->lock);
	s->bytes = bytes;
	s->quota = quota;
	s->inode = inode;
	if (!bytes)
		return 0;
	s->table = kvcalloc(leaves, sizeof(*s->table), GFP_KERNEL_ACCOUNT);
	return s->table ? 0 : -ENOMEM;
}

static void free_granule(struct shmheap_granule *g)
{
	unsigned long i;

	for (i = 0; i < GRANULE_PAGES; i++)
		put_page(g->page + i);
	shmheap_quota_uncharge(g->quota, SHMHEAP_GRANULE);
	shmheap_quota_put(g->quota);
	kfree(g);
}

static void free_granule_rcu(struct rcu_head *rcu)
{
	free_granule(container_of(rcu, struct shmheap_granule, rcu));
}

/* shmheap_store_destroy() frees everything: nobody has a mapping or looks any more. */
void shmheap_store_destroy(struct shmheap_store *s)
{
	u64 i, j, leaves = DIV_ROUND_UP(s->bytes >> SHMHEAP_GRANULE_SHIFT, LEAF);
	struct shmheap_granule *g;

	for (i = 0; s->table && i < leaves; i++) {
		if (!s->table[i])
			continue;
		for (j = 0; j < LEAF; j++) {
			g = rcu_dereference_protected(s->table[i][j], true);
			if (g)
				free_granule(g);
		}
		kfree(s->table[i]);
		shmheap_quota_uncharge(s->quota, LEAF_BYTES);
		cond_resched();
	}
	kvfree(s->table);
	s->table = NULL;
}

static u64 granules(const struct shmheap_store *s)
{
	return s->bytes >> SHMHEAP_GRANULE_SHIFT;
}

/* slot_of() is where the table has granule i, or NULL where there is no leaf yet. */
static struct shmheap_granule __rcu **slot_of(const struct shmheap_store *s, u64 i)
{
	struct shmheap_granule __rcu **leaf;

	if (i >= granules(s))
		return NULL;
	i = array_index_nospec(i, granules(s));
	/* pairs with make_leaf() */
	leaf = smp_load_acquire(&s->table[i >> LEAF_SHIFT]);
	return leaf ? &leaf[i & (LEAF - 1)] : NULL;
}

static struct shmheap_granule *granule_locked(struct shmheap_store *s, u64 i)
{
	struct shmheap_granule __rcu **slot = slot_of(s, i);

	return slot ? rcu_dereference_protected(*slot, lockdep_is_held(&s->lock)) : NULL;
}

/*
 * make_leaf() makes the leaf that granule i belongs to, unless it is there. It stays when its last
 * granule is punched, and is paid for as long.
 */
static int make_leaf(struct shmheap_store *s, u64 i)
{
	struct shmheap_granule __rcu **leaf;
	int err;

	if (slot_of(s, i))
		return 0;
	err = shmheap_quota_charge(s->quota, LEAF_BYTES);
	if (err)
		return err;
	leaf = kcalloc(LEAF, sizeof(*leaf), GFP_KERNEL_ACCOUNT);
	if (!leaf) {
		shmheap_quota_uncharge(s->quota, LEAF_BYTES);
		return -ENOMEM;
	}
	/* pairs with slot_of() */
	smp_store_release(&s->table[i >> LEAF_SHIFT], leaf);
	return 0;
}

static struct shmheap_granule *new_granule(struct shmheap_quota *quota)
{
	const gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN | __GFP_RETRY_MAYFAIL;
	struct shmheap_granule *g = kzalloc(sizeof(*g), GFP_KERNEL_ACCOUNT);

	if (!g)
		return NULL;
	g->page = alloc_pages(gfp, GRANULE_ORDER);
	if (!g->page) {
		kfree(g);
		return NULL;
	}
	if (GRANULE_ORDER)
		split_page(g->page, GRANULE_ORDER);
	g->addr = page_address(g->page);
	g->quota = shmheap_quota_hold(quota);
	return g;
}

/* make() returns granule i, which the region has. The lock is held for writing. */
static struct shmheap_granule *make(struct shmheap_store *s, u64 i)
{
	struct shmheap_granule *g = granule_locked(s, i);
	int err;

	if (g)
		return g;
	err = make_leaf(s, i);
	err = err ?: shmheap_quota_charge(s->quota, SHMHEAP_GRANULE);
	if (err)
		return ERR_PTR(err);
	g = new_granule(s->quota);
	if (!g) {
		shmheap_quota_uncharge(s->quota, SHMHEAP_GRANULE);
		return ERR_PTR(-ENOMEM);
	}
	rcu_assign_pointer(*slot_of(s, i), g);
	atomic64_inc(&s->stored);
	inode_add_bytes(s->inode, SHMHEAP_GRANULE);
	return g;
}

/*
 * insert() maps all pages of a granule, the faulting one first; those that are mapped already stay
 * so.
 */
static vm_fault_t insert(struct vm_fault *vmf, struct shmheap_granule *g)
{
	unsigned long i, at = vmf->pgoff & (GRANULE_PAGES - 1);
	unsigned long first = (vmf->address & PAGE_MASK) - at * PAGE_SIZE;
	vm_fault_t ret = vmf_insert_page(vmf->vma, vmf->address & PAGE_MASK, g->page + at);

	for (i = 0; ret == VM_FAULT_NOPAGE && i < GRANULE_PAGES; i++)
		if (i != at)
			(void)vm_insert_page(vmf->vma, first + i * PAGE_SIZE, g->page + i);
	return ret;
}

vm_fault_t shmheap_store_fault(struct shmheap_store *s, struct vm_fault *vmf)
{
	u64 i = (u64)vmf->pgoff >> GRANULE_ORDER;
	struct shmheap_granule *g;
	vm_fault_t ret;

	if (i >= granules(s))
		return VM_FAULT_SIGBUS;
	down_read(&s->lock);
	g = granule_locked(s, i);
	if (!g) {
		up_read(&s->lock);
		down_write(&s->lock);
		g = make(s, i);
		downgrade_write(&s->lock);
		if (!IS_ERR(g))
			atomic64_inc(&s->faults);
	}
	/*
	 * Want of memory is SIGBUS too: VM_FAULT_OOM is for those who have seen to it that
	 * somebody is killed for memory, and makes the program touch it again, for ever.
	 */
	ret = IS_ERR(g) ? VM_FAULT_SIGBUS : insert(vmf, g);
	up_read(&s->lock);
	return ret;
}

/*
 * shmheap_store_allocate() gives all granules that overlap the range storage, as far as it gets.
 */
int shmheap_store_allocate(struct shmheap_store *s, u64 off, u64 len)
{
	u64 i, end = (off + len + SHMHEAP_GRANULE - 1) >> SHMHEAP_GRANULE_SHIFT;
	struct shmheap_granule *g;

	if (!len || !shmheap_inside(s->bytes, off, len))
		return -EINVAL;
	for (i = off >> SHMHEAP_GRANULE_SHIFT; i < end; i++) {
		if (fatal_signal_pending(current))
			return -EINTR;
		down_write(&s->lock);
		g = make(s, i);
		up_write(&s->lock);
		if (IS_ERR(g))
			return PTR_ERR(g);
		cond_resched();
	}
	return 0;
}

/* take_out() takes granule i out of the table and of all mappings, and reports how that went. */
static int take_out(struct shmheap_store *s, u64 i)
{
	struct shmheap_granule *g = granule_locked(s, i);

	if (!g)
		return 0;
	if (g->pins)
		return -EBUSY;
	RCU_INIT_POINTER(*slot_of(s, i), NULL);
	unmap_mapping_range(s->inode->i_mapping, i << SHMHEAP_GRANULE_SHIFT, SHMHEAP_GRANULE, 1);
	atomic64_dec(&s->stored);
	inode_sub_bytes(s->inode, SHMHEAP_GRANULE);
	call_rcu(&g->rcu, free_granule_rcu);
	return 0;
}

/*
 * shmheap_store_punch() gives whole granules back. Those that are pinned stay: EBUSY in the end.
 */
int shmheap_store_punch(struct shmheap_store *s, u64 off, u64 len)
{
	u64 i, end = (off + len) >> SHMHEAP_GRANULE_SHIFT;
	int err = 0;

	if (!len || (off | len) % SHMHEAP_GRANULE || !shmheap_inside(s->bytes, off, len))
		return -EINVAL;
	for (i = off >> SHMHEAP_GRANULE_SHIFT; i < end; i++) {
		if (!slot_of(s, i)) { /* nor are the others of its leaf */
			i |= LEAF - 1;
			continue;
		}
		if (fatal_signal_pending(current))
			return -EINTR;
		down_write(&s->lock);
		err = take_out(s, i) ?: err;
		up_write(&s->lock);
		cond_resched();
	}
	return err;
}

/*
 * shmheap_store_pin() makes the granule of an offset, keeps it from being punched, and returns the
 * kernel's address of the granule.
 */
void *shmheap_store_pin(struct shmheap_store *s, u64 off)
{
	struct shmheap_granule *g;

	if (off >= s->bytes)
		return ERR_PTR(-EFAULT);
	down_write(&s->lock);
	g = make(s, off >> SHMHEAP_GRANULE_SHIFT);
	if (!IS_ERR(g) && g->pins == UINT_MAX)
		g = ERR_PTR(-EBUSY);
	if (!IS_ERR(g) && !g->pins++)
		atomic64_inc(&s->pinned);
	up_write(&s->lock);
	return IS_ERR(g) ? ERR_CAST(g) : g->addr;
}

void shmheap_store_unpin(struct shmheap_store *s, u64 off)
{
	struct shmheap_granule *g;

	down_write(&s->lock);
	g = granule_locked(s, off >> SHMHEAP_GRANULE_SHIFT);
	if (!WARN_ON_ONCE(!g || !g->pins) && !--g->pins)
		atomic64_dec(&s->pinned);
	up_write(&s->lock);
}

/* part_of() is the kernel's address of an offset, and how much of len is in the same granule. */
static void *part_of(struct shmheap_store *s, u64 off, size_t len, size_t *part)
{
	struct shmheap_granule __rcu **slot = slot_of(s, off >> SHMHEAP_GRANULE_SHIFT);
	struct shmheap_granule *g = slot ? rcu_dereference(*slot) : NULL;
	size_t at = off & (SHMHEAP_GRANULE - 1);

	*part = min_t(size_t, len, SHMHEAP_GRANULE - at);
	return g ? g->addr + at : NULL;
}

/*
 * shmheap_store_copy_from() copies out, in any context. What programs change meanwhile may be
 * torn.
 */
int shmheap_store_copy_from(struct shmheap_store *s, u64 off, void *to, size_t len)
{
	size_t part;
	void *from;

	if (!shmheap_inside(s->bytes, off, len))
		return -EFAULT;
	for (; len; off += part, to += part, len -= part) {
		rcu_read_lock();
		from = part_of(s, off, len, &part);
		if (from)
			/* programs may change it meanwhile: the caller judges its copy */
			data_race(memcpy(to, from, part));
		rcu_read_unlock();
		if (!from)
			return -EFAULT;
	}
	return 0;
}

/* shmheap_store_copy_to() copies in, in any context. */
int shmheap_store_copy_to(struct shmheap_store *s, u64 off, const void *from, size_t len)
{
	size_t part;
	void *to;

	if (!shmheap_inside(s->bytes, off, len))
		return -EFAULT;
	for (; len; off += part, from += part, len -= part) {
		rcu_read_lock();
		to = part_of(s, off, len, &part);
		if (to)
			/* programs may change it meanwhile: the caller judges its copy */
			data_race(memcpy(to, from, part));
		rcu_read_unlock();
		if (!to)
			return -EFAULT;
	}
	return 0;
}

/* page_at() is the page of an offset, held, or NULL where there is no storage. */
static struct page *page_at(struct shmheap_store *s, u64 off)
{
	struct shmheap_granule *g;
	struct page *page = NULL;

	down_read(&s->lock);
	g = granule_locked(s, off >> SHMHEAP_GRANULE_SHIFT);
	if (g) {
		page = g->page + ((off & (SHMHEAP_GRANULE - 1)) >> PAGE_SHIFT);
		get_page(page);
	}
	up_read(&s->lock);
	return page;
}

/* read_page() reads up to the end of a page; holes read as zero. */
static size_t read_page(struct shmheap_store *s, u64 off, size_t len, struct iov_iter *to)
{
	struct page *page = page_at(s, off);
	size_t at = offset_in_page(off), n;

	len = min_t(size_t, len, PAGE_SIZE - at);
	if (!page)
		return iov_iter_zero(len, to);
	n = copy_page_to_iter(page, at, len, to);
	put_page(page);
	return n;
}

/* shmheap_store_read() is read(2) of the region. */
ssize_t shmheap_store_read(struct shmheap_store *s, u64 off, struct iov_iter *to)
{
	ssize_t done = 0;
	size_t n;

	while (off < s->bytes && iov_iter_count(to)) {
		if (fatal_signal_pending(current))
			break;
		n = read_page(s, off, min_t(u64, s->bytes - off, iov_iter_count(to)), to);
		if (!n)
			return done ?: -EFAULT;
		done += n;
		off += n;
		cond_resched();
	}
	return done;
}
