// SPDX-License-Identifier: GPL-2.0
//go:build ignore

/*
 * Channels without shared memory. Queues and blocks are the kernel's own, made here as a program
 * would make them in a region, and SEND and RECV do what a program would do with them:
 *
 *	SEND: pop COMPLETION, fill the block, push REPLY
 *	RECV: pop COMMAND, copy out, push FILL
 *
 * so the kernel's side cannot tell, and need not know, which kind of channel it has.
 */
#include <linux/hrtimer.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/nospec.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include "args.h"
#include "copies.h"
#include "instance.h"
#include "port.h"
#include "quota.h"

#define HANDLES 2 /* as few as the format allows: nobody takes one */

/**
 * struct shmheap_copier - what a program would have had in its region
 * @memory: four queues, and then blocks
 * @bytes: of it
 * @chunks: its pieces of a granule's length, for all rings
 * @block: bytes of a block
 * @lock: of @waiting
 * @waiting: a message that was too long for who wanted it, 0 for none
 * @port: one for each role
 */
struct shmheap_copier {
	void *memory;
	u64 bytes;
	void **chunks;
	u32 block;
	struct mutex lock; /* of RECV */
	u64 waiting;
	struct shmheap_port port[SHMHEAP_ROLES];
};

/* queue_bytes() is how long a queue is, up to where the next may begin. */
static u64 queue_bytes(u32 order)
{
	return round_up(shmheap_slots_at(HANDLES) + (8ULL << order), SHMHEAP_QUEUE_ALIGN);
}

/* room() is the offset of block i. Offset 0 is nil, so a line is left free in front of all. */
static u64 room(const struct shmheap_copier *c, u32 order, u32 i)
{
	return SHMHEAP_QUEUE_ALIGN + SHMHEAP_ROLES * queue_bytes(order) + (u64)i * c->block;
}

static void free_copies(struct shmheap_instance *inst, struct shmheap_copier *c)
{
	shmheap_quota_uncharge(inst->quota, c->bytes);
	vfree(c->memory);
	kvfree(c->chunks);
	kfree(c);
}

static int allocate(struct shmheap_instance *inst, struct shmheap_copier *c, u32 order)
{
	u64 i, n, bytes = PAGE_ALIGN(room(c, order, 2U << order));
	int err = shmheap_quota_charge(inst->quota, bytes);

	if (err)
		return err;
	c->bytes = bytes;
	n = DIV_ROUND_UP(bytes, SHMHEAP_GRANULE);
	c->chunks = kvcalloc(n, sizeof(void *), GFP_KERNEL_ACCOUNT);
	c->memory = __vmalloc(bytes, GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN);
	if (!c->chunks || !c->memory)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		c->chunks[i] = c->memory + i * SHMHEAP_GRANULE;
	return 0;
}

static void init_port(struct shmheap_copier *c, u32 order, u32 role)
{
	u64 at = SHMHEAP_QUEUE_ALIGN + role * queue_bytes(order);

	c->port[role] = (struct shmheap_port) {
		.ring = {
			.chunks = c->chunks,
			.at = at,
			.slots = at + shmheap_slots_at(HANDLES),
			.order = order,
			.block = c->block,
			.bytes = c->bytes,
		},
		.off = at,
		.users = 1,
		.flat = c->memory,
	};
}

/* stock() puts blocks into a queue: as many as it has slots. */
static int stock(struct shmheap_copier *c, u32 order, u32 role, u32 first)
{
	int err = 0;
	u32 i;

	for (i = 0; !err && i < 1U << order; i++)
		err = shmheap_ring_push(&c->port[role].ring, room(c, order, first + i));
	return err;
}

static struct shmheap_copier *new_copies(struct shmheap_instance *inst, u32 order, u32 block)
{
	struct shmheap_copier *c = kzalloc(sizeof(*c), GFP_KERNEL_ACCOUNT);
	int err;
	u32 i;

	if (!c)
		return ERR_PTR(-ENOMEM);
	c->block = block;
	mutex_init(&c->lock);
	err = allocate(inst, c, order);
	for (i = 0; !err && i < SHMHEAP_ROLES; i++)
		init_port(c, order, i);
	err = err ?: stock(c, order, SHMHEAP_FILL, 0);
	err = err ?: stock(c, order, SHMHEAP_COMPLETION, 1U << order);
	if (err) {
		free_copies(inst, c);
		return ERR_PTR(err);
	}
	return c;
}

static bool has_queues(const struct shmheap_channel *ch)
{
	int i;

	for (i = 0; i < SHMHEAP_ROLES; i++)
		if (rcu_access_pointer(ch->port[i]))
			return true;
	return false;
}

/* take_over() makes the channel one of copies. */
static int take_over(struct shmheap_channel *ch, struct shmheap_copier *c)
{
	int i, err = 0;

	mutex_lock(&ch->lock);
	if (ch->copies || has_queues(ch)) {
		err = -EBUSY;
	} else {
		for (i = 0; i < SHMHEAP_ROLES; i++)
			rcu_assign_pointer(ch->port[i], &c->port[i]);
		smp_store_release(&ch->copies, c); /* pairs with copies_of() */
	}
	mutex_unlock(&ch->lock);
	return err;
}

int shmheap_copies_create(struct shmheap_instance *inst, unsigned long arg)
{
	struct shmheap_channel *ch;
	struct shmheap_copier *c;
	struct shmheap_copies a;
	int i, err = shmheap_args_in(&a, arg, sizeof(a));

	if (err)
		return err;
	if (a.flags || a.pad || a.order < 1 || a.order > 12 || !shmheap_block_ok(a.block) ||
	    a.block > SHMHEAP_GRANULE)
		return -EINVAL;
	ch = shmheap_channel(inst, a.channel);
	if (IS_ERR(ch))
		return PTR_ERR(ch);
	c = new_copies(inst, a.order, a.block);
	if (IS_ERR(c))
		return PTR_ERR(c);
	err = take_over(ch, c);
	if (err) {
		free_copies(inst, c);
		return err;
	}
	for (i = 0; i < SHMHEAP_ROLES; i++) {
		shmheap_side_changed(&ch->side[i]);
		shmheap_instance_tell(inst, SHMHEAP_QUEUE_ATTACHED, ch->number, i);
	}
	return 0;
}

/* shmheap_copies_free() is for a channel that nobody uses any more. */
void shmheap_copies_free(struct shmheap_channel *ch)
{
	int i;

	if (!ch->copies)
		return;
	for (i = 0; i < SHMHEAP_ROLES; i++)
		RCU_INIT_POINTER(ch->port[i], NULL);
	free_copies(ch->inst, ch->copies);
	ch->copies = NULL;
}

/* copies_of() finds the channel, which is one of copies and stays so. */
static struct shmheap_copier *copies_of(struct shmheap_instance *inst, u32 n,
					struct shmheap_channel **ch)
{
	struct shmheap_copier *c;

	if (n >= SHMHEAP_CHANNELS)
		return ERR_PTR(-EINVAL);
	/* pairs with shmheap_channel() */
	*ch = smp_load_acquire(&inst->channels[array_index_nospec(n, SHMHEAP_CHANNELS)]);
	if (!*ch)
		return ERR_PTR(-ENOTCONN);
	/* pairs with take_over() */
	c = smp_load_acquire(&(*ch)->copies);
	return c ?: ERR_PTR(-ENOTCONN);
}

/* await() sleeps until there may be something in a queue that the kernel pushes to. */
static int await(struct shmheap_channel *ch, struct shmheap_copier *c, enum shmheap_role role,
		 u64 deadline)
{
	ktime_t t = deadline > KTIME_MAX ? KTIME_MAX : (ktime_t)deadline;
	DEFINE_WAIT(wait);
	int err = 0;

	prepare_to_wait(&ch->side[role].programs, &wait, TASK_INTERRUPTIBLE);
	shmheap_side_arm(&ch->side[role]);
	if (shmheap_ring_look(&c->port[role].ring) != -ENODATA)
		err = 0;
	else if (signal_pending(current))
		err = -ERESTARTSYS;
	else if (!schedule_hrtimeout_range(&t, 0, HRTIMER_MODE_ABS))
		err = -ETIMEDOUT;
	finish_wait(&ch->side[role].programs, &wait);
	return err;
}

/* fill() fills a block with what a program wants to send. */
static int fill(struct shmheap_copier *c, u64 off, const struct shmheap_copy *a)
{
	memcpy(c->memory + off, &a->message, sizeof(a->message));
	if (copy_from_user(c->memory + off + sizeof(a->message), u64_to_user_ptr(a->data),
			   a->message.bytes))
		return -EFAULT;
	return 0;
}

/* try_send() sends if there is an empty block. */
static int try_send(struct shmheap_channel *ch, struct shmheap_copier *c,
		    const struct shmheap_copy *a)
{
	u64 off;
	int err = shmheap_port_pop(ch, SHMHEAP_COMPLETION, &off);

	if (err)
		return err;
	err = fill(c, off, a);
	if (!err && !shmheap_port_push(ch, SHMHEAP_REPLY, off))
		return 0;
	shmheap_port_push(ch, SHMHEAP_COMPLETION, off);
	return err ?: -EAGAIN;
}

int shmheap_copies_send(struct shmheap_instance *inst, unsigned long arg)
{
	struct shmheap_channel *ch;
	struct shmheap_copier *c;
	struct shmheap_copy a;
	int late = 0, err = shmheap_args_in(&a, arg, sizeof(a));

	if (err)
		return err;
	if (a.flags || a.capacity)
		return -EINVAL;
	c = copies_of(inst, a.channel, &ch);
	if (IS_ERR(c))
		return PTR_ERR(c);
	if (!shmheap_message_ok(&a.message, c->block))
		return -EMSGSIZE;
	for (;;) {
		err = try_send(ch, c, &a);
		if (err != -EAGAIN || a.deadline == SHMHEAP_NO_WAIT || late)
			break;
		late = await(ch, c, SHMHEAP_COMPLETION, a.deadline);
		if (late == -ERESTARTSYS)
			return late;
	}
	if (!err && shmheap_ring_heard(&c->port[SHMHEAP_REPLY].ring))
		shmheap_channel_kick(ch, SHMHEAP_REPLY);
	return err == -EAGAIN && late ? late : err;
}

/*
 * deliver() copies the message at an offset out. The memory is the kernel's own, but its user may
 * have pushed any offset in it, one that a program has named too, and what is there need be no
 * header.
 */
static int deliver(struct shmheap_copier *c, u64 off, struct shmheap_copy *a)
{
	memcpy(&a->message, c->memory + off, sizeof(a->message));
	if (!shmheap_message_ok(&a->message, c->block))
		return -EBADMSG;
	if (a->message.bytes > a->capacity)
		return -EMSGSIZE;
	if (copy_to_user(u64_to_user_ptr(a->data), c->memory + off + sizeof(a->message),
			 a->message.bytes))
		return -EFAULT;
	return 0;
}

/*
 * deliver_waiting() delivers the message that waits. What is none does not wait any longer either.
 */
static int deliver_waiting(struct shmheap_channel *ch, struct shmheap_copier *c,
			   struct shmheap_copy *a)
{
	int err = deliver(c, c->waiting, a);

	if (err && err != -EBADMSG)
		return err;
	if (err)
		shmheap_count(&ch->side[SHMHEAP_COMMAND], bad);
	else
		shmheap_port_push(ch, SHMHEAP_FILL, c->waiting);
	c->waiting = 0;
	return err;
}

/*
 * try_recv() delivers a message if there is one. What cannot be delivered waits for the next call.
 */
static int try_recv(struct shmheap_channel *ch, struct shmheap_copier *c, struct shmheap_copy *a)
{
	int err = 0;

	if (mutex_lock_interruptible(&c->lock))
		return -ERESTARTSYS;
	if (!c->waiting)
		err = shmheap_port_pop(ch, SHMHEAP_COMMAND, &c->waiting);
	if (err)
		c->waiting = 0;
	else
		err = deliver_waiting(ch, c, a);
	mutex_unlock(&c->lock);
	return err;
}

int shmheap_copies_recv(struct shmheap_instance *inst, unsigned long arg)
{
	struct shmheap_channel *ch;
	struct shmheap_copier *c;
	struct shmheap_copy a;
	int late = 0, err = shmheap_args_in(&a, arg, sizeof(a));

	if (err)
		return err;
	if (a.flags || a.message.id || a.message.type || a.message.bytes)
		return -EINVAL;
	c = copies_of(inst, a.channel, &ch);
	if (IS_ERR(c))
		return PTR_ERR(c);
	for (;;) {
		err = try_recv(ch, c, &a);
		if (err != -EAGAIN || a.deadline == SHMHEAP_NO_WAIT || late)
			break;
		late = await(ch, c, SHMHEAP_COMMAND, a.deadline);
		if (late == -ERESTARTSYS)
			return late;
	}
	if (err == -EAGAIN && late)
		return late;
	if (err && err != -EMSGSIZE)
		return err;
	return shmheap_args_out(arg, &a, sizeof(a)) ?: err;
}
