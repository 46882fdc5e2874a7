/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHMHEAP_STREAM_H
#define _SHMHEAP_STREAM_H

#include <linux/irq_work.h>
#include <linux/types.h>
#include <linux/wait.h>
#include "uapi/shmheap_kmod.h"

struct shmheap_instance;

/*
 * What the kernel keeps of a processor's ring; programs see only shmheap_stream_ring and the
 * slots.
 */
struct shmheap_stream_cpu {
	u64 depth; /* writers that have interrupted one another, those at work */
	u64 open; /* number of the record of the outermost */
};

/**
 * struct shmheap_ring_stream - the lossy stream of an instance
 * @map: what programs map read-only: shmheap_stream, and a ring for each processor
 * @cpus: the writers' own, one for each ring
 * @slot: bytes of a slot
 * @order: log2 of their number
 * @bytes: of @map
 * @charged: to the instance's quota
 * @watched: there has been a reader that may sleep; never false again
 * @known: all writers see that
 * @armed: one does, or is about to
 * @wait: where
 * @work: wakes
 */
struct shmheap_ring_stream {
	void *map;
	struct shmheap_stream_cpu __percpu *cpus;
	u32 slot;
	u32 order;
	u64 bytes;
	u64 charged;
	bool watched;
	bool known;
	int armed;
	wait_queue_head_t wait;
	struct irq_work work;
};

int shmheap_stream_init(struct shmheap_instance *inst, u32 slot, u32 order);
void shmheap_stream_free(struct shmheap_instance *inst);
struct shmheap_stream_ring *shmheap_stream_ring(const struct shmheap_ring_stream *s, u32 cpu);
struct shmheap_record *shmheap_stream_slot(const struct shmheap_ring_stream *s, u32 cpu, u64 n);
void shmheap_stream_watch(struct shmheap_ring_stream *s);

#endif
