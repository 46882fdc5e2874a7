/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note OR MIT */
/*
 * /dev/shmheap_regsN: a device's register that programs and an interrupt handler change.
 * doc/kernel.md, "Samples", has the protocol.
 *
 * mmap of the first page, MAP_SHARED, gives the device's registers, not cached; touching them is
 * SIGBUS once the device is gone.
 */
#ifndef _UAPI_SHMHEAP_REGS_H
#define _UAPI_SHMHEAP_REGS_H

#include "shmheap_lock.h"

#ifdef __KERNEL__
#include <linux/ioctl.h>
#else
#include <sys/ioctl.h>
#endif

#define SHMHEAP_REGS_DEVICE "/dev/shmheap_regs" /* and a number, from 0 */

/* The register that is shared, and the part of it that the interrupt handler owns. */
#define SHMHEAP_REGS_REGISTER 0x80 /* in the page of registers; 64 bits */
#define SHMHEAP_REGS_KERNEL_SHIFT 48
#define SHMHEAP_REGS_KERNEL_MASK (0xffffULL << SHMHEAP_REGS_KERNEL_SHIFT)

/*
 * ATTACH: says where the lock is, a struct shmheap_mutex in memory that all who share the register
 * share, and which peer this file is of, so that the lock is free at once when it dies with it.
 * The kernel keeps the page of the lock until the last file is closed. EBUSY when the others have
 * named another lock, or the file a peer already; EFAULT; ENODEV when the device is gone.
 */
struct shmheap_regs_attach {
	__u64 lock; /* address: a multiple of 16 */
	__u64 peer; /* not 0, below SHMHEAP_PEER_KERNEL */
};

/* STAT */
struct shmheap_regs_stat {
	__u64 irqs; /* interrupts: the kernel's part of the register counts them */
	__u64 at_once; /* changes of the register made by the handler itself */
	__u64 later; /* and those made by a work, as a program had the lock */
	__u64 tries; /* of the work, that found the lock taken */
	__u64 waiting; /* 1 while a change waits for the lock */
	__u64 lost; /* times that the kernel's part was not as the kernel had left it */
	__u64 buried; /* locks taken away from who had died */
	__u64 meddled; /* times that a program took the lock away from the kernel */
};

#define SHMHEAP_REGS_IOC_MAGIC 0xB9
#define SHMHEAP_REGS_IOC_ATTACH _IOW(SHMHEAP_REGS_IOC_MAGIC, 0, struct shmheap_regs_attach)
#define SHMHEAP_REGS_IOC_STAT _IOR(SHMHEAP_REGS_IOC_MAGIC, 1, struct shmheap_regs_stat)

SHMHEAP_ASSERT(sizeof(struct shmheap_regs_attach) == 16);
SHMHEAP_ASSERT(sizeof(struct shmheap_regs_stat) == 64);

#endif
