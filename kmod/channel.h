/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHMHEAP_CHANNEL_H
#define _SHMHEAP_CHANNEL_H

#include <linux/irq_work.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/wait.h>
#include "include/shmheap_kernel.h"

struct eventfd_ctx;
struct shmheap_copier;
struct shmheap_port;

/* Counted on each processor, in any context. */
struct shmheap_counts {
	u64 pushed, popped, full, bad, wakes, kicks, stranded;
};

/**
 * struct shmheap_side - one role of a channel, with a queue or without
 * @programs: who polls or waits for this queue; see @armed
 * @kernel: who is in shmheap_wait()
 * @armed: a program sleeps, or is about to
 * @changes: queues that came or went
 * @due: programs are to be woken from irq_work
 * @told: an eventfd is to be signalled from irq_work
 * @eventfd: to signal, under RCU
 * @counts: of what happened
 * @work: wakes programs where this cannot be done at once
 */
struct shmheap_side {
	wait_queue_head_t programs;
	wait_queue_head_t kernel;
	int armed;
	atomic_t changes;
	int due;
	int told;
	struct eventfd_ctx __rcu *eventfd;
	struct shmheap_counts __percpu *counts;
	struct irq_work work;
};

/**
 * struct shmheap_channel - queues that belong together
 * @inst: lives longer
 * @number: of it
 * @lock: of @port for writing, the ports' users, @copies and eventfds
 * @port: under RCU, NULL for none
 * @side: one for each role
 * @stash: a block from FILL that could not be sent, 0 for none
 * @copies: NULL, or the memory of a channel without sharing
 * @kick_lock: held for reading while @kick runs
 * @kick: called at each kick
 * @kick_data: for it
 */
struct shmheap_channel {
	struct shmheap_instance *inst;
	u32 number;
	struct mutex lock; /* of what programs attach and detach */
	struct shmheap_port __rcu *port[SHMHEAP_ROLES];
	struct shmheap_side side[SHMHEAP_ROLES];
	u64 stash;
	struct shmheap_copier *copies;
	struct rw_semaphore kick_lock;
	shmheap_kick_fn kick;
	void *kick_data;
};

#define shmheap_count(side, what) this_cpu_inc((side)->counts->what)

void shmheap_channels_free(struct shmheap_instance *inst);
void shmheap_channels_wake(struct shmheap_instance *inst);
void shmheap_side_arm(struct shmheap_side *side);
void shmheap_side_wake(struct shmheap_side *side);
void shmheap_side_signal(struct shmheap_side *side);
void shmheap_side_changed(struct shmheap_side *side);
struct eventfd_ctx *shmheap_side_take(struct shmheap_channel *ch, struct shmheap_side *side);
void shmheap_side_drop(struct eventfd_ctx *ctx);
int shmheap_side_eventfd(struct shmheap_channel *ch, struct shmheap_side *side, int fd);
void shmheap_channel_kick(struct shmheap_channel *ch, enum shmheap_role role);

/* shmheap_to_programs() reports whether the kernel pushes and programs pop. */
static inline bool shmheap_to_programs(enum shmheap_role role)
{
	return role == SHMHEAP_COMMAND || role == SHMHEAP_COMPLETION;
}

#endif
