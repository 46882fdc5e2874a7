/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHMHEAP_INSTANCE_H
#define _SHMHEAP_INSTANCE_H

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/refcount.h>
#include <linux/wait.h>
#include "include/shmheap_kernel.h"
#include "store.h"

struct inode;
struct page;
struct shmheap_quota;
struct shmheap_ring_stream;

/**
 * struct shmheap_instance - what descriptors, mappings and modules hold together
 * @refs: one for each open description and each shmheap_get(). The last one ends it.
 * @node: in the list of instances, until @refs is 0
 * @id: never used again
 * @name: see @unlinked
 * @unlinked: the name is not found any more; under the list's lock
 * @base: in all programs
 * @inode: its i_private is the instance, until @refs is 0
 * @quota: who pays
 * @store: the region
 * @control: the page of control words
 * @words: its content
 * @stream: NULL for none
 * @lock: of @channels
 * @channels: made when first asked for, and kept
 * @peers: open descriptions
 * @released: those that were
 * @refused: mmap calls
 * @peers_wait: for a change of @released
 * @events: notifiers
 */
struct shmheap_instance {
	refcount_t refs;
	struct list_head node;
	u64 id;
	char name[SHMHEAP_NAME_SIZE];
	bool unlinked;
	u64 base;
	struct inode *inode;
	struct shmheap_quota *quota;
	struct shmheap_store store;
	struct page *control;
	u64 *words;
	struct shmheap_ring_stream *stream;
	struct mutex lock; /* of channels */
	struct shmheap_channel *channels[SHMHEAP_CHANNELS];
	atomic64_t peers;
	atomic64_t released;
	atomic64_t refused;
	wait_queue_head_t peers_wait;
	struct blocking_notifier_head events;
};

struct shmheap_instance *shmheap_instance_create(const struct shmheap_create *args);
struct shmheap_instance *shmheap_instance_open(const char *name);
struct shmheap_instance *shmheap_instance_of(struct inode *inode);
void shmheap_instance_hold(struct shmheap_instance *inst);
int shmheap_instance_unlink(struct shmheap_instance *inst);
void shmheap_instance_enter(struct shmheap_instance *inst);
void shmheap_instance_leave(struct shmheap_instance *inst);
void shmheap_instance_stat(struct shmheap_instance *inst, struct shmheap_stat *st);
void shmheap_instance_tell(struct shmheap_instance *inst, enum shmheap_event what, u32 channel,
			   u32 role);

#endif
