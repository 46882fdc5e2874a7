/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHMHEAP_PORT_H
#define _SHMHEAP_PORT_H

#include "channel.h"
#include "ring.h"

/**
 * struct shmheap_port - a queue that is attached to a channel
 * @ring: the kernel's private knowledge of it
 * @off: of the queue in the region
 * @first: the granule that the queue begins in
 * @granules: pinned, and in ring.chunks
 * @users: open descriptors of the queue; under the channel's lock
 * @flat: NULL, or the memory that stands for the region in a channel without sharing
 */
struct shmheap_port {
	struct shmheap_ring ring;
	u64 off;
	u64 first;
	u64 granules;
	u64 users;
	void *flat;
};

struct shmheap_port *shmheap_port_attach(struct shmheap_channel *ch, enum shmheap_role role,
					 u64 off, u32 block);
void shmheap_port_detach(struct shmheap_channel *ch, enum shmheap_role role,
			 struct shmheap_port *port);
int shmheap_port_push(struct shmheap_channel *ch, enum shmheap_role role, u64 off);
int shmheap_port_pop(struct shmheap_channel *ch, enum shmheap_role role, u64 *off);

#endif
