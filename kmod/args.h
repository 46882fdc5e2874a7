/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHMHEAP_ARGS_H
#define _SHMHEAP_ARGS_H

#include <linux/fs.h>
#include <linux/types.h>

int shmheap_args_in(void *to, unsigned long arg, size_t size);
int shmheap_args_out(unsigned long arg, const void *from, size_t size);
int shmheap_give_fd(struct file *file, unsigned long arg, const void *out, size_t size, int fd);

#endif
