// SPDX-License-Identifier: GPL-2.0
//go:build ignore

/*
 * /dev/shmheap: where instances are made and opened. Its mode, and udev, say who
 * may open it.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include "device.h"
#include "file.h"
#include "uapi/shmheap_kmod.h"

static ushort mode = 0600;
module_param(mode, ushort, 0444);
MODULE_PARM_DESC(mode, "permission bits of /dev/shmheap (default 0600)");

static long device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case SHMHEAP_IOC_INFO:
		return shmheap_file_info(arg);
	case SHMHEAP_IOC_CREATE:
		return shmheap_file_create(arg);
	case SHMHEAP_IOC_OPEN:
		return shmheap_file_open(arg);
	}
	return -ENOTTY;
}

static const struct file_operations device_operations = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "shmheap",
	.fops = &device_operations,
};

int __init shmheap_device_init(void)
{
	if (mode & ~0777) { /* such as 666, which is decimal */
		pr_err("shmheap: mode=0%o is more than permission bits\n", mode);
		return -EINVAL;
	}
	device.mode = mode;
	return misc_register(&device);
}

void shmheap_device_exit(void)
{
	misc_deregister(&device);
}
