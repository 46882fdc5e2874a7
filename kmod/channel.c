// SPDX-License-Identifier: GPL-2.0
//go:build ignore

/*
 * Channels, and who sleeps at them. A side remembers whether somebody sleeps (armed), so that a
 * push is a push and nothing else while nobody does.
 *
 *	sleeper: armed = 1 (full barrier); look at the queue; sleep
 *	waker:   change the queue (full barrier); if armed: armed = 0, wake all
 *
 * Each barrier pairs with the other: either the waker sees the sleeper, or the sleeper the change.
 * poll arms too, so an epoll set costs a wake-up only after it has been told of the one before.
 * Wake-ups do not say what for: io_uring would believe that and not poll again, and so not arm.
 */
#include <linux/eventfd.h>
#include <linux/export.h>
#include <linux/irqflags.h>
#include <linux/nospec.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include "channel.h"
#include "compat.h"
#include "copies.h"
#include "instance.h"
#include "port.h"

/* shmheap_side_arm() announces a sleeper, who then looks at the queue. */
void shmheap_side_arm(struct shmheap_side *side)
{
	xchg(&side->armed, 1); /* pairs with the barrier of what precedes shmheap_side_wake() */
}

static void signal_now(struct shmheap_side *side)
{
	struct eventfd_ctx *ctx;

	rcu_read_lock();
	ctx = rcu_dereference(side->eventfd);
	if (ctx)
		shmheap_eventfd_signal(ctx);
	rcu_read_unlock();
}

static void wake_now(struct shmheap_side *side)
{
	shmheap_count(side, wakes);
	wake_up(&side->programs);
}

static void work(struct irq_work *work)
{
	struct shmheap_side *side = container_of(work, struct shmheap_side, work);

	if (xchg(&side->due, 0))
		wake_now(side);
	if (xchg(&side->told, 0))
		signal_now(side);
}

/*
 * in_haste() reports whether locks of wait queues may be held by whom we have interrupted, or may
 * not be taken here: they sleep in a kernel that can be preempted in their sections.
 */
static bool in_haste(void)
{
	return in_nmi() || irqs_disabled() ||
	       (IS_ENABLED(CONFIG_PREEMPT_RT) && preempt_count() != 0);
}

/*
 * shmheap_side_wake() wakes programs that sleep. What it is about has been done, with a full
 * barrier.
 */
void shmheap_side_wake(struct shmheap_side *side)
{
	if (!READ_ONCE(side->armed) || !xchg(&side->armed, 0))
		return;
	if (!in_haste()) {
		wake_now(side);
		return;
	}
	xchg(&side->due, 1);
	irq_work_queue(&side->work);
}

/* shmheap_side_signal() signals the eventfd. */
void shmheap_side_signal(struct shmheap_side *side)
{
	if (!in_haste()) {
		signal_now(side);
		return;
	}
	xchg(&side->told, 1);
	irq_work_queue(&side->work);
}

/* shmheap_side_changed() wakes everybody, as a queue has come or gone. */
void shmheap_side_changed(struct shmheap_side *side)
{
	atomic_inc(&side->changes);
	wake_up_all(&side->kernel);
	wake_up(&side->programs);
}

/*
 * shmheap_side_take() takes the eventfd away, for shmheap_side_drop() a grace period later. The
 * channel's lock is held.
 */
struct eventfd_ctx *shmheap_side_take(struct shmheap_channel *ch, struct shmheap_side *side)
{
	return rcu_replace_pointer(side->eventfd, NULL, lockdep_is_held(&ch->lock));
}

void shmheap_side_drop(struct eventfd_ctx *ctx)
{
	if (ctx)
		eventfd_ctx_put(ctx);
}

/* shmheap_side_eventfd() has an eventfd signalled instead of the one before. */
int shmheap_side_eventfd(struct shmheap_channel *ch, struct shmheap_side *side, int fd)
{
	struct eventfd_ctx *ctx = NULL, *old;

	if (fd >= 0)
		ctx = eventfd_ctx_fdget(fd);
	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	mutex_lock(&ch->lock);
	old = shmheap_side_take(ch, side);
	rcu_assign_pointer(side->eventfd, ctx);
	mutex_unlock(&ch->lock);
	if (old)
		synchronize_rcu();
	shmheap_side_drop(old);
	return 0;
}

static int init_side(struct shmheap_side *side)
{
	init_waitqueue_head(&side->programs);
	init_waitqueue_head(&side->kernel);
	init_irq_work(&side->work, work);
	side->counts = alloc_percpu_gfp(struct shmheap_counts, GFP_KERNEL_ACCOUNT);
	return side->counts ? 0 : -ENOMEM;
}

static void free_side(struct shmheap_side *side)
{
	struct eventfd_ctx *ctx = rcu_dereference_protected(side->eventfd, true);

	if (!side->counts) /* it was not made */
		return;
	irq_work_sync(&side->work);
	if (ctx)
		eventfd_ctx_put(ctx);
	free_percpu(side->counts);
}

static void free_channel(struct shmheap_channel *ch)
{
	int i;

	shmheap_copies_free(ch);
	for (i = 0; i < SHMHEAP_ROLES; i++) {
		WARN_ON_ONCE(rcu_access_pointer(ch->port[i]));
		free_side(&ch->side[i]);
	}
	kfree(ch);
}

static struct shmheap_channel *new_channel(struct shmheap_instance *inst, u32 n)
{
	struct shmheap_channel *ch = kzalloc(sizeof(*ch), GFP_KERNEL_ACCOUNT);
	int i, err = 0;

	if (!ch)
		return ERR_PTR(-ENOMEM);
	ch->inst = inst;
	ch->number = n;
	mutex_init(&ch->lock);
	init_rwsem(&ch->kick_lock);
	for (i = 0; !err && i < SHMHEAP_ROLES; i++)
		err = init_side(&ch->side[i]);
	if (err) {
		free_channel(ch);
		return ERR_PTR(err);
	}
	return ch;
}

struct shmheap_channel *shmheap_channel(struct shmheap_instance *inst, unsigned int n)
{
	struct shmheap_channel *ch;

	if (n >= SHMHEAP_CHANNELS)
		return ERR_PTR(-EINVAL);
	n = array_index_nospec(n, SHMHEAP_CHANNELS);
	mutex_lock(&inst->lock);
	ch = inst->channels[n];
	if (!ch) {
		ch = new_channel(inst, n);
		if (!IS_ERR(ch))
			/* pairs with shmheap_channels_wake() and copies_of() */
			smp_store_release(&inst->channels[n], ch);
	}
	mutex_unlock(&inst->lock);
	return ch;
}
EXPORT_SYMBOL_GPL(shmheap_channel);

void shmheap_channels_free(struct shmheap_instance *inst)
{
	int i;

	for (i = 0; i < SHMHEAP_CHANNELS; i++)
		if (inst->channels[i])
			free_channel(inst->channels[i]);
}

/* shmheap_channels_wake() lets the kernel's users look who is still there. */
void shmheap_channels_wake(struct shmheap_instance *inst)
{
	struct shmheap_channel *ch;
	int i, role;

	for (i = 0; i < SHMHEAP_CHANNELS; i++) {
		/* pairs with shmheap_channel() */
		ch = smp_load_acquire(&inst->channels[i]);
		for (role = 0; ch && role < SHMHEAP_ROLES; role++)
			wake_up_all(&ch->side[role].kernel);
	}
}

/* shmheap_channel_kick() wakes the kernel's side. Context: process. */
void shmheap_channel_kick(struct shmheap_channel *ch, enum shmheap_role role)
{
	shmheap_count(&ch->side[role], kicks);
	wake_up_all(&ch->side[role].kernel);
	down_read(&ch->kick_lock);
	if (ch->kick)
		ch->kick(ch->kick_data, role);
	up_read(&ch->kick_lock);
}

int shmheap_set_kick(struct shmheap_channel *ch, shmheap_kick_fn fn, void *data)
{
	int err = 0;

	down_write(&ch->kick_lock);
	if (fn && ch->kick) {
		err = -EBUSY;
	} else {
		ch->kick = fn;
		ch->kick_data = data;
	}
	up_write(&ch->kick_lock);
	return err;
}
EXPORT_SYMBOL_GPL(shmheap_set_kick);
