// SPDX-License-Identifier: GPL-2.0
//go:build ignore

/*
 * Arguments of calls: copied in once, judged, and copied out.
 */
#include <linux/file.h>
#include <linux/uaccess.h>
#include "args.h"

/* shmheap_args_in() copies an argument in, whose first word must be its size. */
int shmheap_args_in(void *to, unsigned long arg, size_t size)
{
	if (copy_from_user(to, (const void __user *)arg, size))
		return -EFAULT;
	return *(u32 *)to == size ? 0 : -EINVAL;
}

int shmheap_args_out(unsigned long arg, const void *from, size_t size)
{
	return copy_to_user((void __user *)arg, from, size) ? -EFAULT : 0;
}

/*
 * shmheap_give_fd() ends a call that returns a descriptor: it tells the program and then puts the
 * file into its table, which cannot be undone. On an error both are gone.
 */
int shmheap_give_fd(struct file *file, unsigned long arg, const void *out, size_t size, int fd)
{
	int err = shmheap_args_out(arg, out, size);

	if (err) {
		put_unused_fd(fd);
		fput(file);
		return err;
	}
	fd_install(fd, file);
	return 0;
}
