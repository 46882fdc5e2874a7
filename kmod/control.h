/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHMHEAP_CONTROL_H
#define _SHMHEAP_CONTROL_H

struct shmheap_instance;

int shmheap_control_init(struct shmheap_instance *inst);
void shmheap_control_free(struct shmheap_instance *inst);

#endif
