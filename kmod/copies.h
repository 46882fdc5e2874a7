/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHMHEAP_COPIES_H
#define _SHMHEAP_COPIES_H

struct shmheap_channel;
struct shmheap_instance;

int shmheap_copies_create(struct shmheap_instance *inst, unsigned long arg);
int shmheap_copies_send(struct shmheap_instance *inst, unsigned long arg);
int shmheap_copies_recv(struct shmheap_instance *inst, unsigned long arg);
void shmheap_copies_free(struct shmheap_channel *ch);

#endif
