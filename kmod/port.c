// SPDX-License-Identifier: GPL-2.0
//go:build ignore

/*
 * Queues that are attached, and what the kernel does with them. A port is found under RCU, so that
 * any context may push and pop while programs attach and detach.
 */
#include <linux/atomic.h>
#include <linux/export.h>
#include <linux/kthread.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include "instance.h"
#include "port.h"

/*
 * A producer may be killed between its push and its kick: then the kernel looks this much later.
 */
#define NAP (HZ / 2)

/*
 * read_header() judges what is at an offset. The ready word is the last that its maker has stored.
 */
static int read_header(struct shmheap_instance *inst, u64 off, struct shmheap_geometry *g)
{
	struct shmheap_first_line h;
	u64 ready;

	if (off % SHMHEAP_QUEUE_ALIGN ||
	    !shmheap_inside(inst->store.bytes, off, sizeof(struct shmheap_queue)))
		return -EFAULT;
	if (shmheap_copy_from(inst, off + offsetof(struct shmheap_queue, ready), &ready, 8))
		return -EBADMSG; /* nothing is there */
	smp_rmb(); /* pairs with the release store of Ready in Header.write */
	if (ready != SHMHEAP_QUEUE_READY || shmheap_copy_from(inst, off, &h, sizeof(h)))
		return -EBADMSG;
	return shmheap_check_queue(&h, inst->store.bytes, off, g);
}

static void unpin(struct shmheap_instance *inst, struct shmheap_port *port, u64 n)
{
	while (n--)
		shmheap_store_unpin(&inst->store, (port->first + n) << SHMHEAP_GRANULE_SHIFT);
}

/* pin() gives the queue storage and remembers where the kernel has it. */
static int pin(struct shmheap_instance *inst, struct shmheap_port *port)
{
	void *chunk;
	u64 i;

	for (i = 0; i < port->granules; i++) {
		chunk = ERR_PTR(-EINTR);
		if (!fatal_signal_pending(current))
			chunk = shmheap_store_pin(&inst->store,
						  (port->first + i) << SHMHEAP_GRANULE_SHIFT);
		if (IS_ERR(chunk)) {
			unpin(inst, port, i);
			return PTR_ERR(chunk);
		}
		port->ring.chunks[i] = chunk;
		cond_resched();
	}
	return 0;
}

static void set_geometry(struct shmheap_port *port, const struct shmheap_geometry *g, u64 off,
			 u32 block, u64 bytes)
{
	struct shmheap_ring *r = &port->ring;

	port->off = off;
	port->first = off >> SHMHEAP_GRANULE_SHIFT;
	port->granules = ((off + g->bytes - 1) >> SHMHEAP_GRANULE_SHIFT) - port->first + 1;
	r->at = off & (SHMHEAP_GRANULE - 1);
	r->slots = r->at + g->slots;
	r->order = g->order;
	r->block = block;
	r->bytes = bytes;
}

static struct shmheap_port *new_port(struct shmheap_instance *inst,
				     const struct shmheap_geometry *g, u64 off, u32 block)
{
	struct shmheap_port *port = kzalloc(sizeof(*port), GFP_KERNEL_ACCOUNT);
	int err = -ENOMEM;

	if (!port)
		return ERR_PTR(err);
	set_geometry(port, g, off, block, inst->store.bytes);
	port->users = 1;
	port->ring.chunks = kvcalloc(port->granules, sizeof(void *), GFP_KERNEL_ACCOUNT);
	if (port->ring.chunks)
		err = pin(inst, port);
	if (err) {
		kvfree(port->ring.chunks);
		kfree(port);
		return ERR_PTR(err);
	}
	shmheap_ring_seek(&port->ring);
	return port;
}

static void free_port(struct shmheap_instance *inst, struct shmheap_port *port)
{
	unpin(inst, port, port->granules);
	kvfree(port->ring.chunks);
	kfree(port);
}

/*
 * expect() tells producers from the beginning that the kernel may sleep, so that their pushes are
 * full barriers before they look whether it does. It is somebody else's word, hence the
 * read-modify-write.
 */
static void expect(struct shmheap_ring *r, u64 bit)
{
	atomic64_or(bit, (atomic64_t *)shmheap_ring_word(r, state));
}

/*
 * join() takes the port that is attached already, if it is of the same queue. The lock is held.
 */
static struct shmheap_port *join(struct shmheap_channel *ch, enum shmheap_role role, u64 off,
				 u32 block)
{
	struct shmheap_port *port = rcu_dereference_protected(ch->port[role],
							      lockdep_is_held(&ch->lock));

	if (ch->copies)
		return ERR_PTR(-EBUSY);
	if (!port)
		return NULL;
	if (port->off != off || port->ring.block != block)
		return ERR_PTR(-EBUSY);
	port->users++;
	return port;
}

/* attach_new() is for a queue that is not attached yet. The lock is held. */
static struct shmheap_port *attach_new(struct shmheap_channel *ch, enum shmheap_role role, u64 off,
				       u32 block)
{
	struct shmheap_geometry g;
	struct shmheap_port *port;
	int err = read_header(ch->inst, off, &g);

	if (err)
		return ERR_PTR(err);
	port = new_port(ch->inst, &g, off, block);
	if (IS_ERR(port))
		return port;
	if (!shmheap_to_programs(role))
		expect(&port->ring, SHMHEAP_QUEUE_POP_SLEEP);
	rcu_assign_pointer(ch->port[role], port);
	return port;
}

/* shmheap_port_attach() attaches the queue at an offset, or joins those who have. */
struct shmheap_port *shmheap_port_attach(struct shmheap_channel *ch, enum shmheap_role role,
					 u64 off, u32 block)
{
	struct shmheap_port *port;
	bool fresh;

	mutex_lock(&ch->lock);
	port = join(ch, role, off, block);
	fresh = !port;
	if (fresh)
		port = attach_new(ch, role, off, block);
	mutex_unlock(&ch->lock);
	if (!IS_ERR(port) && fresh) {
		shmheap_side_changed(&ch->side[role]);
		shmheap_instance_tell(ch->inst, SHMHEAP_QUEUE_ATTACHED, ch->number, role);
	}
	return port;
}

/*
 * shmheap_port_detach() gives a user's hold on the port back. After the last the kernel lets go of
 * the queue: a block that it kept for the next message is not its any more either, and whoever
 * wanted a signal will not get one of the next queue.
 */
void shmheap_port_detach(struct shmheap_channel *ch, enum shmheap_role role,
			 struct shmheap_port *port)
{
	struct eventfd_ctx *ctx = NULL;
	bool last;

	mutex_lock(&ch->lock);
	last = !--port->users;
	if (last) {
		RCU_INIT_POINTER(ch->port[role], NULL);
		ctx = shmheap_side_take(ch, &ch->side[role]);
		synchronize_rcu_expedited();
		if (role == SHMHEAP_FILL)
			xchg(&ch->stash, 0);
	}
	mutex_unlock(&ch->lock);
	if (!last)
		return;
	shmheap_side_drop(ctx);
	free_port(ch->inst, port);
	shmheap_side_changed(&ch->side[role]);
	shmheap_instance_tell(ch->inst, SHMHEAP_QUEUE_DETACHED, ch->number, role);
}

/* push_to() pushes and wakes. Under RCU. */
static int push_to(struct shmheap_port *port, struct shmheap_side *side, u64 off)
{
	int err = shmheap_ring_push(&port->ring, off);

	if (err) {
		shmheap_count(side, full);
		return err;
	}
	shmheap_count(side, pushed);
	shmheap_side_wake(side);
	if (rcu_access_pointer(side->eventfd) && shmheap_ring_heard(&port->ring))
		shmheap_side_signal(side);
	return 0;
}

/* shmheap_port_push() pushes to a queue of any role. Context: any. */
int shmheap_port_push(struct shmheap_channel *ch, enum shmheap_role role, u64 off)
{
	struct shmheap_port *port;
	int err = -ENOTCONN;

	rcu_read_lock();
	port = rcu_dereference(ch->port[role]);
	if (port)
		err = shmheap_element_ok(port->ring.bytes, off, port->ring.block) ?
		      push_to(port, &ch->side[role], off) : -EINVAL;
	rcu_read_unlock();
	return err;
}

/* shmheap_port_pop() pops from a queue of any role. Context: any. */
int shmheap_port_pop(struct shmheap_channel *ch, enum shmheap_role role, u64 *off)
{
	struct shmheap_side *side = &ch->side[role];
	struct shmheap_port *port;
	int err = -ENOTCONN;

	rcu_read_lock();
	port = rcu_dereference(ch->port[role]);
	if (port)
		err = shmheap_ring_pop(&port->ring, off);
	rcu_read_unlock();
	if (!err || err == -EBADMSG) {
		shmheap_count(side, popped);
		shmheap_side_wake(side); /* there is room */
	}
	if (err == -EBADMSG)
		shmheap_count(side, bad);
	return err == -ENODATA ? -EAGAIN : err;
}

int shmheap_push(struct shmheap_channel *ch, enum shmheap_role role, u64 off)
{
	if (role >= SHMHEAP_ROLES || !shmheap_to_programs(role))
		return -EINVAL;
	return shmheap_port_push(ch, role, off);
}
EXPORT_SYMBOL_GPL(shmheap_push);

int shmheap_pop(struct shmheap_channel *ch, enum shmheap_role role, u64 *off)
{
	if (role >= SHMHEAP_ROLES || shmheap_to_programs(role))
		return -EINVAL;
	return shmheap_port_pop(ch, role, off);
}
EXPORT_SYMBOL_GPL(shmheap_pop);

/* listen() announces that the kernel sleeps, and looks: as shmheap_ring_look(), ENOTCONN. */
static int listen(struct shmheap_channel *ch, enum shmheap_role role)
{
	struct shmheap_port *port;
	int err = -ENOTCONN;

	rcu_read_lock();
	port = rcu_dereference(ch->port[role]);
	if (port) {
		shmheap_ring_listen(&port->ring);
		err = shmheap_ring_look(&port->ring);
	}
	rcu_read_unlock();
	return err;
}

bool shmheap_arm(struct shmheap_channel *ch, enum shmheap_role role)
{
	return role < SHMHEAP_ROLES && !shmheap_to_programs(role) && !listen(ch, role);
}
EXPORT_SYMBOL_GPL(shmheap_arm);

/*
 * patience() is how long to sleep, or a negative number or 0 to return. Where the place was not
 * found in a bounded number of looks, a program may see to it that it never is: the caller tries
 * again, but only after a tick, so that it does not burn a processor.
 */
static long patience(struct shmheap_channel *ch, enum shmheap_role role, int changes, bool *lost)
{
	int err = listen(ch, role);

	*lost = err == -EAGAIN;
	if (!err || atomic_read(&ch->side[role].changes) != changes)
		return 0;
	if ((current->flags & PF_KTHREAD) && kthread_should_stop())
		return -EINTR;
	if (signal_pending(current))
		return -ERESTARTSYS;
	return *lost ? 1 : NAP;
}

int shmheap_wait(struct shmheap_channel *ch, enum shmheap_role role, long timeout)
{
	bool forever = timeout == MAX_SCHEDULE_TIMEOUT, lost = false;
	DEFINE_WAIT(wait);
	long nap = 0;
	int changes;

	if (role >= SHMHEAP_ROLES || shmheap_to_programs(role))
		return -EINVAL;
	changes = atomic_read(&ch->side[role].changes);
	while (!lost) {
		prepare_to_wait(&ch->side[role].kernel, &wait, TASK_INTERRUPTIBLE);
		nap = patience(ch, role, changes, &lost);
		if (nap > 0 && timeout <= 0)
			nap = -ETIMEDOUT;
		if (nap <= 0)
			break;
		nap = min(timeout, nap);
		timeout -= nap - schedule_timeout(nap);
		if (forever)
			timeout = MAX_SCHEDULE_TIMEOUT;
		nap = 0;
	}
	finish_wait(&ch->side[role].kernel, &wait);
	return nap;
}
EXPORT_SYMBOL_GPL(shmheap_wait);
