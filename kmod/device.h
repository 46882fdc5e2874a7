/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHMHEAP_DEVICE_H
#define _SHMHEAP_DEVICE_H

int shmheap_device_init(void);
void shmheap_device_exit(void);

#endif
