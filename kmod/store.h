/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHMHEAP_STORE_H
#define _SHMHEAP_STORE_H

#include <linux/atomic.h>
#include <linux/mm_types.h>
#include <linux/rwsem.h>
#include <linux/types.h>

struct inode;
struct iov_iter;
struct shmheap_quota;
struct shmheap_granule;

/**
 * struct shmheap_store - the storage of a region
 * @lock: held for reading while pages are mapped, for writing while granules come and go. Taken
 *	inside mmap_lock, so nothing may touch user memory under it.
 * @bytes: of the region
 * @table: leaves of granules, each made when the first of its granules is, and freed with the store
 * @quota: who pays
 * @inode: whose mappings and whose st_blocks it is
 * @stored: granules there are
 * @pinned: of them
 * @faults: that came by being touched
 */
struct shmheap_store {
	struct rw_semaphore lock;
	u64 bytes;
	struct shmheap_granule __rcu ***table;
	struct shmheap_quota *quota;
	struct inode *inode;
	atomic64_t stored;
	atomic64_t pinned;
	atomic64_t faults;
};

int shmheap_store_init(struct shmheap_store *s, u64 bytes, struct shmheap_quota *quota,
		       struct inode *inode);
void shmheap_store_destroy(struct shmheap_store *s);
vm_fault_t shmheap_store_fault(struct shmheap_store *s, struct vm_fault *vmf);
int shmheap_store_allocate(struct shmheap_store *s, u64 off, u64 len);
int shmheap_store_punch(struct shmheap_store *s, u64 off, u64 len);
void *shmheap_store_pin(struct shmheap_store *s, u64 off);
void shmheap_store_unpin(struct shmheap_store *s, u64 off);
int shmheap_store_copy_from(struct shmheap_store *s, u64 off, void *to, size_t len);
int shmheap_store_copy_to(struct shmheap_store *s, u64 off, const void *from, size_t len);
ssize_t shmheap_store_read(struct shmheap_store *s, u64 off, struct iov_iter *to);

#endif
