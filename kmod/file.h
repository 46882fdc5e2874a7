/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHMHEAP_FILE_H
#define _SHMHEAP_FILE_H

#include <linux/fs.h>

struct shmheap_create;
struct shmheap_instance;
struct shmheap_open;

extern const struct file_operations shmheap_file_operations;

int shmheap_file_create(unsigned long arg);
int shmheap_file_open(unsigned long arg);
int shmheap_file_info(unsigned long arg);

#endif
