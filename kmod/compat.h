/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The one place that knows that kernels differ. Kbuild looks into the kernel's headers and defines
 * SHMHEAP_HAVE_... for what it finds there.
 */
#ifndef _SHMHEAP_COMPAT_H
#define _SHMHEAP_COMPAT_H

#include <linux/eventfd.h>
#include <linux/fs.h>
#include <linux/mm.h>

/* Since 6.3 the flags of a mapping are changed by functions. */
static inline void shmheap_vm_flags_mod(struct vm_area_struct *vma, unsigned long set,
					unsigned long clear)
{
#ifdef SHMHEAP_HAVE_VM_FLAGS_MOD
	vm_flags_mod(vma, set, clear);
#else
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
#endif
}

/* Since 6.3 permission checks are told of idmapped mounts by a struct of their own. */
#ifdef SHMHEAP_HAVE_MNT_IDMAP
#define SHMHEAP_IDMAP struct mnt_idmap
#define SHMHEAP_NOP_IDMAP (&nop_mnt_idmap)
#else
#include <linux/user_namespace.h>
#define SHMHEAP_IDMAP struct user_namespace
#define SHMHEAP_NOP_IDMAP (&init_user_ns)
#endif

/* Since 6.8 eventfd_signal adds one. */
static inline void shmheap_eventfd_signal(struct eventfd_ctx *ctx)
{
#ifdef SHMHEAP_HAVE_EVENTFD_SIGNAL_ONE
	eventfd_signal(ctx);
#else
	eventfd_signal(ctx, 1);
#endif
}

#endif
