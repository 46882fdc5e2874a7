/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHMHEAP_QUOTA_H
#define _SHMHEAP_QUOTA_H

#include <linux/types.h>
#include <linux/uidgid.h>

struct shmheap_quota;

void shmheap_quota_init(void);
struct shmheap_quota *shmheap_quota_get(kuid_t uid);
struct shmheap_quota *shmheap_quota_hold(struct shmheap_quota *q);
void shmheap_quota_put(struct shmheap_quota *q);
int shmheap_quota_charge(struct shmheap_quota *q, u64 bytes);
void shmheap_quota_uncharge(struct shmheap_quota *q, u64 bytes);
int shmheap_quota_enter(struct shmheap_quota *q);
void shmheap_quota_leave(struct shmheap_quota *q);
u64 shmheap_quota_used(const struct shmheap_quota *q);
u32 shmheap_quota_instances(const struct shmheap_quota *q);
u64 shmheap_quota_limit(void);
u32 shmheap_quota_max_instances(void);

#endif
