// SPDX-License-Identifier: GPL-2.0
//go:build ignore

/*
 * Instances: the list of the living, and their parts, which are made and unmade here.
 */
#include <linux/export.h>
#include <linux/fs.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include "channel.h"
#include "check.h"
#include "compat.h"
#include "control.h"
#include "inode.h"
#include "instance.h"
#include "quota.h"
#include "stream.h"

/*
 * Guards the list, the names in it, and i_private. Who finds an instance under it may hold it: the
 * last reference is dropped with the lock held.
 */
static DEFINE_SPINLOCK(instances_lock);
static LIST_HEAD(instances);
static u64 last_id;

static struct shmheap_instance *find(const char *name)
{
	struct shmheap_instance *inst;

	list_for_each_entry(inst, &instances, node)
		if (!inst->unlinked && !strncmp(inst->name, name, SHMHEAP_NAME_SIZE))
			return inst;
	return NULL;
}

/* enlist() makes an instance that can be found. */
static int enlist(struct shmheap_instance *inst)
{
	int err = 0;

	spin_lock(&instances_lock);
	if (find(inst->name)) {
		err = -EEXIST;
	} else {
		inst->id = ++last_id;
		inst->inode->i_private = inst;
		list_add(&inst->node, &instances);
	}
	spin_unlock(&instances_lock);
	return err;
}

/* free_parts() undoes make_parts(), and as much of it as was done. */
static void free_parts(struct shmheap_instance *inst)
{
	shmheap_channels_free(inst);
	shmheap_stream_free(inst);
	shmheap_control_free(inst);
	shmheap_store_destroy(&inst->store);
}

static int make_parts(struct shmheap_instance *inst, const struct shmheap_create *args)
{
	int err = shmheap_store_init(&inst->store, args->bytes, inst->quota, inst->inode);

	err = err ?: shmheap_control_init(inst);
	err = err ?: shmheap_stream_init(inst, args->stream_slot, args->stream_order);
	err = err ?: enlist(inst);
	if (err)
		free_parts(inst);
	return err;
}

/* make_inode() makes what the parts need, and then the parts. */
static int make_inode(struct shmheap_instance *inst, const struct shmheap_create *args)
{
	int err = shmheap_fs_pin();

	if (err)
		return err;
	inst->inode = shmheap_inode_new(args->bytes, args->mode ?: 0600);
	if (IS_ERR(inst->inode)) {
		err = PTR_ERR(inst->inode);
	} else {
		err = make_parts(inst, args);
		if (err)
			iput(inst->inode);
	}
	if (err)
		shmheap_fs_unpin();
	return err;
}

static int make(struct shmheap_instance *inst, const struct shmheap_create *args)
{
	int err;

	inst->quota = shmheap_quota_get(current_fsuid());
	if (!inst->quota)
		return -ENOMEM;
	err = shmheap_quota_enter(inst->quota);
	if (!err) {
		err = make_inode(inst, args);
		if (err)
			shmheap_quota_leave(inst->quota);
	}
	if (err)
		shmheap_quota_put(inst->quota);
	return err;
}

/*
 * shmheap_instance_create() makes an instance that the caller holds. The arguments have been
 * judged.
 */
struct shmheap_instance *shmheap_instance_create(const struct shmheap_create *args)
{
	struct shmheap_instance *inst = kzalloc(sizeof(*inst), GFP_KERNEL_ACCOUNT);
	int err;

	if (!inst)
		return ERR_PTR(-ENOMEM);
	refcount_set(&inst->refs, 1);
	memcpy(inst->name, args->name, sizeof(inst->name));
	inst->base = args->base;
	mutex_init(&inst->lock);
	init_waitqueue_head(&inst->peers_wait);
	BLOCKING_INIT_NOTIFIER_HEAD(&inst->events);
	err = make(inst, args);
	if (err) {
		kfree(inst);
		return ERR_PTR(err);
	}
	return inst;
}

static void destroy(struct shmheap_instance *inst)
{
	free_parts(inst);
	iput(inst->inode);
	shmheap_fs_unpin();
	shmheap_quota_leave(inst->quota);
	shmheap_quota_put(inst->quota);
	kfree(inst);
}

void shmheap_put(struct shmheap_instance *inst)
{
	bool last;

	if (!inst || refcount_dec_not_one(&inst->refs))
		return;
	spin_lock(&instances_lock);
	last = refcount_dec_and_test(&inst->refs);
	if (last) {
		list_del(&inst->node);
		inst->inode->i_private = NULL;
	}
	spin_unlock(&instances_lock);
	if (last)
		destroy(inst);
}
EXPORT_SYMBOL_GPL(shmheap_put);

void shmheap_instance_hold(struct shmheap_instance *inst)
{
	refcount_inc(&inst->refs);
}

/* shmheap_instance_of() holds the instance of an inode; NULL when it has ended. */
struct shmheap_instance *shmheap_instance_of(struct inode *inode)
{
	struct shmheap_instance *inst;

	spin_lock(&instances_lock);
	inst = inode->i_private;
	if (inst)
		refcount_inc(&inst->refs);
	spin_unlock(&instances_lock);
	return inst;
}

struct shmheap_instance *shmheap_get(const char *name)
{
	struct shmheap_instance *inst;

	spin_lock(&instances_lock);
	inst = find(name);
	if (inst)
		refcount_inc(&inst->refs);
	spin_unlock(&instances_lock);
	return inst ?: ERR_PTR(-ENOENT);
}
EXPORT_SYMBOL_GPL(shmheap_get);

/* shmheap_instance_open() holds an instance of that name if the current user may. */
struct shmheap_instance *shmheap_instance_open(const char *name)
{
	struct shmheap_instance *inst = shmheap_get(name);
	int err;

	if (IS_ERR(inst))
		return inst;
	err = inode_permission(SHMHEAP_NOP_IDMAP, inst->inode, MAY_READ | MAY_WRITE);
	if (err) {
		shmheap_put(inst);
		return ERR_PTR(err);
	}
	return inst;
}

/* shmheap_instance_unlink() takes the name away. */
int shmheap_instance_unlink(struct shmheap_instance *inst)
{
	int err = 0;

	if (!inode_owner_or_capable(SHMHEAP_NOP_IDMAP, inst->inode))
		return -EPERM;
	spin_lock(&instances_lock);
	if (inst->unlinked)
		err = -ENOENT;
	WRITE_ONCE(inst->unlinked, true); /* STAT looks without the lock */
	spin_unlock(&instances_lock);
	return err;
}

void shmheap_instance_tell(struct shmheap_instance *inst, enum shmheap_event what, u32 channel,
			   u32 role)
{
	struct shmheap_peer_event event = {
		.inst = inst,
		.peers = atomic64_read(&inst->peers),
		.exiting = what == SHMHEAP_PEER_RELEASED && (current->flags & PF_EXITING),
		.channel = channel,
		.role = role,
	};

	blocking_notifier_call_chain(&inst->events, what, &event);
}

/* shmheap_instance_enter() counts an open description. */
void shmheap_instance_enter(struct shmheap_instance *inst)
{
	atomic64_inc(&inst->peers);
	shmheap_instance_tell(inst, SHMHEAP_PEER_OPENED, 0, 0);
}

/* shmheap_instance_leave() is for one that is gone, and wakes whoever waits for that. */
void shmheap_instance_leave(struct shmheap_instance *inst)
{
	atomic64_dec(&inst->peers);
	atomic64_inc(&inst->released);
	wake_up_all(&inst->peers_wait);
	shmheap_channels_wake(inst);
	shmheap_instance_tell(inst, SHMHEAP_PEER_RELEASED, 0, 0);
}

void shmheap_instance_stat(struct shmheap_instance *inst, struct shmheap_stat *st)
{
	memcpy(st->name, inst->name, sizeof(st->name));
	st->flags = READ_ONCE(inst->unlinked) ? SHMHEAP_STAT_UNLINKED : 0;
	st->id = inst->id;
	st->base = inst->base;
	st->bytes = inst->store.bytes;
	st->stored = atomic64_read(&inst->store.stored) * SHMHEAP_GRANULE;
	st->pinned = atomic64_read(&inst->store.pinned) * SHMHEAP_GRANULE;
	st->faults = atomic64_read(&inst->store.faults);
	st->peers = atomic64_read(&inst->peers);
	st->released = atomic64_read(&inst->released);
	st->refused = atomic64_read(&inst->refused);
}

const char *shmheap_name(const struct shmheap_instance *inst)
{
	return inst->name;
}
EXPORT_SYMBOL_GPL(shmheap_name);

u64 shmheap_base(const struct shmheap_instance *inst)
{
	return inst->base;
}
EXPORT_SYMBOL_GPL(shmheap_base);

u64 shmheap_bytes(const struct shmheap_instance *inst)
{
	return inst->store.bytes;
}
EXPORT_SYMBOL_GPL(shmheap_bytes);

u64 shmheap_peers(const struct shmheap_instance *inst)
{
	return atomic64_read(&inst->peers);
}
EXPORT_SYMBOL_GPL(shmheap_peers);

int shmheap_offset_of(const struct shmheap_instance *inst, u64 addr, size_t len, u64 *off)
{
	if (addr < inst->base || !shmheap_inside(inst->store.bytes, addr - inst->base, len))
		return -EFAULT;
	*off = addr - inst->base;
	return 0;
}
EXPORT_SYMBOL_GPL(shmheap_offset_of);

int shmheap_copy_from(struct shmheap_instance *inst, u64 off, void *to, size_t len)
{
	return shmheap_store_copy_from(&inst->store, off, to, len);
}
EXPORT_SYMBOL_GPL(shmheap_copy_from);

int shmheap_copy_to(struct shmheap_instance *inst, u64 off, const void *from, size_t len)
{
	return shmheap_store_copy_to(&inst->store, off, from, len);
}
EXPORT_SYMBOL_GPL(shmheap_copy_to);

void *shmheap_pin(struct shmheap_instance *inst, u64 off, size_t len)
{
	size_t at = off & (SHMHEAP_GRANULE - 1);
	void *granule;

	if (!shmheap_inside(inst->store.bytes, off, len) || len > SHMHEAP_GRANULE - at)
		return ERR_PTR(-EFAULT);
	granule = shmheap_store_pin(&inst->store, off);
	return IS_ERR(granule) ? granule : granule + at;
}
EXPORT_SYMBOL_GPL(shmheap_pin);

void shmheap_unpin(struct shmheap_instance *inst, u64 off)
{
	shmheap_store_unpin(&inst->store, off);
}
EXPORT_SYMBOL_GPL(shmheap_unpin);

int shmheap_notifier_register(struct shmheap_instance *inst, struct notifier_block *nb)
{
	return blocking_notifier_chain_register(&inst->events, nb);
}
EXPORT_SYMBOL_GPL(shmheap_notifier_register);

int shmheap_notifier_unregister(struct shmheap_instance *inst, struct notifier_block *nb)
{
	return blocking_notifier_chain_unregister(&inst->events, nb);
}
EXPORT_SYMBOL_GPL(shmheap_notifier_unregister);
