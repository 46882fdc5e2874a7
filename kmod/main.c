// SPDX-License-Identifier: GPL-2.0
//go:build ignore

/*
 * shmheap.ko: the heap, its queues and control words, shared with the kernel. doc/kernel.md says
 * how.
 *
 *	device   /dev/shmheap              store   granules of a region
 *	file     descriptors of instances  mmap    who may map them where
 *	inode    what is behind those      quota   who pays
 *	instance what they share           control words
 *	channel  queues that belong together: port, message, copies (without sharing)
 *	stream   lossy records
 */
#include <linux/module.h>
#include <linux/rcupdate.h>
#include "device.h"
#include "quota.h"
#include "selftest.h"

static int __init shmheap_init(void)
{
	int err;

	shmheap_quota_init();
	err = shmheap_selftest();
	err = err ?: shmheap_device_init();
	if (err)
		rcu_barrier(); /* the self-test has given granules back */
	return err;
}

static void __exit shmheap_exit(void)
{
	shmheap_device_exit();
	rcu_barrier(); /* granules that wait for a grace period */
}

module_init(shmheap_init);
module_exit(shmheap_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("a heap at one address, shared by programs and the kernel");
MODULE_AUTHOR("The shmheap authors");
