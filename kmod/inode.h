/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHMHEAP_INODE_H
#define _SHMHEAP_INODE_H

#include <linux/fs.h>

int shmheap_fs_pin(void);
void shmheap_fs_unpin(void);
struct inode *shmheap_inode_new(u64 bytes, umode_t mode);
struct file *shmheap_inode_file(struct inode *inode, const char *name, unsigned int flags);

#endif
