/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHMHEAP_MMAP_H
#define _SHMHEAP_MMAP_H

struct shmheap_instance;
struct vm_area_struct;

int shmheap_mmap(struct shmheap_instance *inst, struct vm_area_struct *vma);

#endif
