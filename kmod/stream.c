// SPDX-License-Identifier: GPL-2.0
//go:build ignore

/*
 * The lossy stream: a ring for each processor that its writers overwrite, whatever context they
 * are in.
 *
 * A writer runs with preemption off, so that others on its processor interrupt it and have
 * finished when it goes on: they nest. Each takes the next number (an addition without lock, but
 * in one instruction or retried, as seen from the same processor), and writes its slot:
 *
 *	seq = 0; wmb; the record; release: seq = number + 1
 *
 * A nested writer must not come round to the slot of one that it has interrupted: it is refused
 * when it would, and counted.
 *
 * Order: the write barrier pairs with the load barrier of readers before their second look at seq,
 * the release with the acquire of their first. Who wakes: the barrier between the record and the
 * look at armed pairs with that in shmheap_stream_file's arm(). While there has never been a
 * reader that sleeps, the barrier is saved; the first waits for a grace period, after which all
 * writers see that there is one.
 */
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/vmalloc.h>
#include "instance.h"
#include "quota.h"
#include "stream.h"

struct shmheap_stream_ring *shmheap_stream_ring(const struct shmheap_ring_stream *s, u32 cpu)
{
	const struct shmheap_stream *h = s->map;

	return s->map + h->rings + cpu * h->stride;
}

/* slots_offset() is how far from the beginning of a ring its slots are. */
static size_t slots_offset(const struct shmheap_ring_stream *s)
{
	return max_t(size_t, s->slot, 128);
}

struct shmheap_record *shmheap_stream_slot(const struct shmheap_ring_stream *s, u32 cpu, u64 n)
{
	size_t at = (n & ((1UL << s->order) - 1)) * s->slot;

	return (void *)shmheap_stream_ring(s, cpu) + slots_offset(s) + at;
}

static void wake(struct irq_work *work)
{
	struct shmheap_ring_stream *s = container_of(work, struct shmheap_ring_stream, work);

	wake_up(&s->wait); /* says nothing of what for: see channel.c */
}

/*
 * layout() decides where everything is. Programs cannot write it, so it may be looked at again.
 */
static void layout(struct shmheap_ring_stream *s, struct shmheap_stream *h)
{
	size_t ring = slots_offset(s) + ((size_t)s->slot << s->order);

	*h = (struct shmheap_stream) {
		.magic = SHMHEAP_STREAM_MAGIC,
		.version = SHMHEAP_KMOD_VERSION,
		.cpus = nr_cpu_ids,
		.slot = s->slot,
		.order = s->order,
		.rings = PAGE_SIZE,
		.stride = PAGE_ALIGN(ring),
		.slots = slots_offset(s),
	};
	h->bytes = h->rings + h->cpus * h->stride;
	s->bytes = h->bytes;
}

static int allocate(struct shmheap_ring_stream *s, struct shmheap_quota *quota)
{
	struct shmheap_stream h;
	int err;

	layout(s, &h);
	err = shmheap_quota_charge(quota, s->bytes);
	if (err)
		return err;
	s->charged = s->bytes;
	s->cpus = alloc_percpu_gfp(struct shmheap_stream_cpu, GFP_KERNEL_ACCOUNT);
	/* A program chooses the size: that it is not to be had is nothing for the log. */
	s->map = __vmalloc(s->bytes, GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN);
	if (!s->cpus || !s->map)
		return -ENOMEM;
	memcpy(s->map, &h, sizeof(h));
	return 0;
}

int shmheap_stream_init(struct shmheap_instance *inst, u32 slot, u32 order)
{
	struct shmheap_ring_stream *s;

	if (!slot)
		return 0;
	s = kzalloc(sizeof(*s), GFP_KERNEL_ACCOUNT);
	if (!s)
		return -ENOMEM;
	s->slot = slot;
	s->order = order;
	init_waitqueue_head(&s->wait);
	init_irq_work(&s->work, wake);
	inst->stream = s;
	return allocate(s, inst->quota);
}

/* shmheap_stream_free() undoes shmheap_stream_init(), and as much of it as was done. */
void shmheap_stream_free(struct shmheap_instance *inst)
{
	struct shmheap_ring_stream *s = inst->stream;

	if (!s)
		return;
	irq_work_sync(&s->work);
	vfree(s->map);
	free_percpu(s->cpus);
	shmheap_quota_uncharge(inst->quota, s->charged);
	kfree(s);
	inst->stream = NULL;
}

/*
 * shmheap_stream_watch() makes writers look for sleepers from here on. Of readers that come at once
 * each waits for its own grace period.
 */
void shmheap_stream_watch(struct shmheap_ring_stream *s)
{
	/* pairs with the release below */
	if (smp_load_acquire(&s->known))
		return;
	WRITE_ONCE(s->watched, true);
	synchronize_rcu(); /* writers run with preemption off */
	smp_store_release(&s->known, true);
}

/*
 * take() takes the next number. depth is how many writers are at work on this processor, this one
 * included. An outermost one says which record is open before it takes a number: what interrupts
 * it in between finds the number of an earlier record, and is refused rather early.
 */
static bool take(struct shmheap_ring_stream *s, struct shmheap_stream_cpu *c,
		 struct shmheap_stream_ring *ring, u64 depth, u64 *n)
{
	u64 head = READ_ONCE(ring->head);

	if (depth == 1)
		WRITE_ONCE(c->open, head);
	for (;;) {
		if (depth > 1 && head - READ_ONCE(c->open) >= 1ULL << s->order)
			return false;
		*n = cmpxchg_local(&ring->head, head, head + 1);
		if (*n == head)
			return true;
		head = *n;
	}
}

/*
 * drop() counts a record that was refused. Others on this processor may do so in the middle of it.
 */
static void drop(struct shmheap_stream_ring *ring)
{
	u64 old = READ_ONCE(ring->dropped), seen;

	while ((seen = cmpxchg_local(&ring->dropped, old, old + 1)) != old)
		old = seen;
}

static void fill(struct shmheap_record *r, u64 n, u32 cpu, u16 type, const void *data, size_t len)
{
	WRITE_ONCE(r->seq, 0);
	/* pairs with look()'s load barrier before its second look at seq */
	smp_wmb();
	r->time = ktime_get_mono_fast_ns();
	r->bytes = len;
	r->type = type;
	r->cpu = cpu;
	memcpy(r->data, data, len);
	/* pairs with look()'s acquire */
	smp_store_release(&r->seq, n + 1);
}

static int write_on(struct shmheap_ring_stream *s, u32 cpu, u16 type, const void *data, size_t len)
{
	struct shmheap_stream_cpu *c = this_cpu_ptr(s->cpus);
	struct shmheap_stream_ring *ring = shmheap_stream_ring(s, cpu);
	u64 n, depth = this_cpu_inc_return(s->cpus->depth);
	bool taken;

	barrier(); /* those who interrupt see depth before anything else */
	taken = take(s, c, ring, depth, &n);
	if (taken)
		fill(shmheap_stream_slot(s, cpu, n), n, cpu, type, data, len);
	else
		drop(ring);
	barrier();
	this_cpu_dec(s->cpus->depth);
	return taken ? 0 : -ENOSPC;
}

int shmheap_stream_write(struct shmheap_instance *inst, u16 type, const void *data, size_t len)
{
	struct shmheap_ring_stream *s = inst->stream;
	int err;

	if (!s)
		return -ENOTCONN;
	if (len > s->slot - sizeof(struct shmheap_record))
		return -EMSGSIZE;
	preempt_disable_notrace();
	err = write_on(s, smp_processor_id(), type, data, len);
	if (READ_ONCE(s->watched)) {
		/* pairs with the exchange in stream_file.c's arm() */
		smp_mb();
		if (READ_ONCE(s->armed) && xchg(&s->armed, 0))
			irq_work_queue(&s->work);
	}
	preempt_enable_notrace();
	return err;
}
EXPORT_SYMBOL_GPL(shmheap_stream_write);

size_t shmheap_stream_room(const struct shmheap_instance *inst)
{
	return inst->stream ? inst->stream->slot - sizeof(struct shmheap_record) : 0;
}
EXPORT_SYMBOL_GPL(shmheap_stream_room);
