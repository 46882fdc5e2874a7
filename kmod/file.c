// SPDX-License-Identifier: GPL-2.0
//go:build ignore

/*
 * Descriptors of an instance. The ordinary kind has an inode of its own and can be mapped; the
 * other (NOMAP) is for the untrusted, has none, and so cannot be opened anew through /proc as the
 * ordinary kind.
 */
#include <linux/types.h> /* falloc.h needs it */
#include <linux/anon_inodes.h>
#include <linux/falloc.h>
#include <linux/file.h>
#include <linux/hrtimer.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include "args.h"
#include "check.h"
#include "copies.h"
#include "file.h"
#include "inode.h"
#include "instance.h"
#include "mmap.h"
#include "queue_file.h"
#include "quota.h"
#include "stream_file.h"

/**
 * struct peer - an open description
 * @inst: held
 * @seen: what PEERS last said of instance.released: poll compares
 */
struct peer {
	struct shmheap_instance *inst;
	u64 seen;
};

/* make_peer() takes a reference to the instance over. */
static int make_peer(struct shmheap_instance *inst, struct file *file)
{
	struct peer *p = kzalloc(sizeof(*p), GFP_KERNEL_ACCOUNT);

	if (!p) {
		shmheap_put(inst);
		return -ENOMEM;
	}
	p->inst = inst;
	p->seen = atomic64_read(&inst->released);
	file->private_data = p;
	shmheap_instance_enter(inst);
	return 0;
}

static int file_open(struct inode *inode, struct file *file)
{
	struct shmheap_instance *inst = shmheap_instance_of(inode);

	return inst ? make_peer(inst, file) : -ENXIO;
}

static int file_release(struct inode *inode, struct file *file)
{
	struct peer *p = file->private_data;

	if (!p) /* open has failed */
		return 0;
	shmheap_instance_leave(p->inst);
	shmheap_put(p->inst);
	kfree(p);
	return 0;
}

static ssize_t file_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct peer *p = iocb->ki_filp->private_data;
	ssize_t n = shmheap_store_read(&p->inst->store, iocb->ki_pos, to);

	if (n > 0)
		iocb->ki_pos += n;
	return n;
}

static long file_fallocate(struct file *file, int mode, loff_t off, loff_t len)
{
	struct peer *p = file->private_data;
	int err;

	switch (mode) {
	case 0:
	case FALLOC_FL_KEEP_SIZE:
		err = shmheap_store_allocate(&p->inst->store, off, len);
		return err == -ENOMEM ? -ENOSPC : err; /* what file systems say */
	case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
		return shmheap_store_punch(&p->inst->store, off, len);
	}
	return -EOPNOTSUPP;
}

static int file_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct peer *p = file->private_data;

	return shmheap_mmap(p->inst, vma);
}

static __poll_t file_poll(struct file *file, poll_table *wait)
{
	struct peer *p = file->private_data;

	poll_wait(file, &p->inst->peers_wait, wait);
	return atomic64_read(&p->inst->released) != READ_ONCE(p->seen) ? EPOLLPRI : 0;
}

static int ioctl_stat(struct shmheap_instance *inst, unsigned long arg)
{
	struct shmheap_stat st;
	int err = shmheap_args_in(&st, arg, sizeof(st));

	if (err)
		return err;
	memset(&st, 0, sizeof(st));
	st.size = sizeof(st);
	shmheap_instance_stat(inst, &st);
	return shmheap_args_out(arg, &st, sizeof(st));
}

static int wait_released(struct shmheap_instance *inst, u64 known, u64 deadline)
{
	ktime_t t = deadline > KTIME_MAX ? KTIME_MAX : (ktime_t)deadline;
	DEFINE_WAIT(wait);
	int err = 0;

	for (;;) {
		prepare_to_wait(&inst->peers_wait, &wait, TASK_INTERRUPTIBLE);
		if (atomic64_read(&inst->released) != known)
			break;
		if (err)
			break;
		if (signal_pending(current)) {
			err = -ERESTARTSYS;
			break;
		}
		if (!schedule_hrtimeout_range(&t, 0, HRTIMER_MODE_ABS))
			err = -ETIMEDOUT; /* after one more look */
	}
	finish_wait(&inst->peers_wait, &wait);
	return atomic64_read(&inst->released) != known ? 0 : err;
}

static int ioctl_peers(struct peer *p, unsigned long arg)
{
	struct shmheap_peers a;
	int err = shmheap_args_in(&a, arg, sizeof(a));

	if (err || a.flags)
		return err ?: -EINVAL;
	err = wait_released(p->inst, a.released, a.deadline);
	if (err == -ERESTARTSYS)
		return err;
	a.released = atomic64_read(&p->inst->released);
	a.peers = atomic64_read(&p->inst->peers);
	WRITE_ONCE(p->seen, a.released);
	return shmheap_args_out(arg, &a, sizeof(a)) ?: err;
}

/* common_ioctl() is what both kinds can do. */
static long common_ioctl(struct peer *p, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case SHMHEAP_IOC_INFO:
		return shmheap_file_info(arg);
	case SHMHEAP_IOC_STAT:
		return ioctl_stat(p->inst, arg);
	case SHMHEAP_IOC_PEERS:
		return ioctl_peers(p, arg);
	case SHMHEAP_IOC_SEND:
		return shmheap_copies_send(p->inst, arg);
	case SHMHEAP_IOC_RECV:
		return shmheap_copies_recv(p->inst, arg);
	}
	return -ENOTTY;
}

static bool is_known(unsigned int cmd)
{
	return cmd == SHMHEAP_IOC_UNLINK || cmd == SHMHEAP_IOC_QUEUE || cmd == SHMHEAP_IOC_STREAM ||
	       cmd == SHMHEAP_IOC_COPIES;
}

/* needed() is what a descriptor must be open for to make a call. */
static fmode_t needed(unsigned int cmd)
{
	if (cmd == SHMHEAP_IOC_STREAM)
		return FMODE_READ;
	if (is_known(cmd) || cmd == SHMHEAP_IOC_SEND || cmd == SHMHEAP_IOC_RECV)
		return FMODE_READ | FMODE_WRITE;
	return 0;
}

static long file_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct peer *p = file->private_data;

	if (needed(cmd) & ~file->f_mode)
		return -EBADF;
	switch (cmd) {
	case SHMHEAP_IOC_UNLINK:
		return shmheap_instance_unlink(p->inst);
	case SHMHEAP_IOC_QUEUE:
		return shmheap_queue_file_open(p->inst, arg);
	case SHMHEAP_IOC_STREAM:
		return shmheap_stream_file_open(p->inst, arg);
	case SHMHEAP_IOC_COPIES:
		return shmheap_copies_create(p->inst, arg);
	}
	return common_ioctl(p, cmd, arg);
}

static long nomap_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return is_known(cmd) ? -EPERM : common_ioctl(file->private_data, cmd, arg);
}

const struct file_operations shmheap_file_operations = {
	.owner = THIS_MODULE,
	.open = file_open,
	.release = file_release,
	.llseek = generic_file_llseek,
	.read_iter = file_read_iter,
	.fallocate = file_fallocate,
	.mmap = file_mmap,
	.poll = file_poll,
	.unlocked_ioctl = file_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static const struct file_operations nomap_operations = {
	.owner = THIS_MODULE,
	.release = file_release,
	.poll = file_poll,
	.unlocked_ioctl = nomap_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct file *nomap_file(struct shmheap_instance *inst, unsigned int flags)
{
	struct file *file = anon_inode_getfile("[shmheap-nomap]", &nomap_operations, NULL,
					       O_RDWR | flags);
	int err;

	if (IS_ERR(file))
		return file;
	shmheap_instance_hold(inst);
	err = make_peer(inst, file);
	if (err) {
		fput(file);
		return ERR_PTR(err);
	}
	return file;
}

/*
 * give() opens a file of the instance and ends the call with it. The caller has put everything
 * into out but the descriptor, which goes to *at.
 */
static int give(struct shmheap_instance *inst, u32 flags, unsigned long arg, void *out,
		size_t size, __s32 *at)
{
	unsigned int f = flags & SHMHEAP_NONBLOCK ? O_NONBLOCK : 0;
	struct file *file;
	int fd = get_unused_fd_flags(O_CLOEXEC);

	if (fd < 0)
		return fd;
	if (flags & SHMHEAP_NOMAP)
		file = nomap_file(inst, f);
	else
		file = shmheap_inode_file(inst->inode, inst->name, f);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	*at = fd;
	return shmheap_give_fd(file, arg, out, size, fd);
}

static int check_create(const struct shmheap_create *a)
{
	if (a->flags & ~(SHMHEAP_NOMAP | SHMHEAP_NONBLOCK) || a->mode & ~0777)
		return -EINVAL;
	if (!shmheap_name_ok(a->name) || !shmheap_stream_ok(a->stream_slot, a->stream_order))
		return -EINVAL;
	return shmheap_region_ok(a->base, a->bytes, TASK_SIZE) ? 0 : -ERANGE;
}

int shmheap_file_create(unsigned long arg)
{
	struct shmheap_instance *inst;
	struct shmheap_create a;
	int err = shmheap_args_in(&a, arg, sizeof(a));

	err = err ?: check_create(&a);
	if (err)
		return err;
	inst = shmheap_instance_create(&a);
	if (IS_ERR(inst))
		return PTR_ERR(inst);
	a.id = inst->id;
	err = give(inst, a.flags, arg, &a, sizeof(a), &a.fd);
	shmheap_put(inst);
	return err;
}

int shmheap_file_open(unsigned long arg)
{
	struct shmheap_instance *inst;
	struct shmheap_open a;
	int err = shmheap_args_in(&a, arg, sizeof(a));

	if (err)
		return err;
	if (a.flags & ~(SHMHEAP_NOMAP | SHMHEAP_NONBLOCK) || a.pad || !shmheap_name_ok(a.name))
		return -EINVAL;
	inst = shmheap_instance_open(a.name);
	if (IS_ERR(inst))
		return PTR_ERR(inst);
	a.id = inst->id;
	a.base = inst->base;
	a.bytes = inst->store.bytes;
	err = give(inst, a.flags, arg, &a, sizeof(a), &a.fd);
	shmheap_put(inst);
	return err;
}

int shmheap_file_info(unsigned long arg)
{
	struct shmheap_quota *q;
	struct shmheap_info a;
	int err = shmheap_args_in(&a, arg, sizeof(a));

	if (err)
		return err;
	q = shmheap_quota_get(current_fsuid());
	if (!q)
		return -ENOMEM;
	a = (struct shmheap_info) {
		.size = sizeof(a),
		.version = SHMHEAP_KMOD_VERSION,
		.features = SHMHEAP_FEATURE_REGION | SHMHEAP_FEATURE_QUEUES |
			    SHMHEAP_FEATURE_CONTROL | SHMHEAP_FEATURE_STREAM |
			    SHMHEAP_FEATURE_COPIES | SHMHEAP_FEATURE_PUNCH | SHMHEAP_FEATURE_SEEN,
		.page_size = PAGE_SIZE,
		.granule = SHMHEAP_GRANULE,
		.max_bytes = SHMHEAP_MAX_BYTES,
		.quota = shmheap_quota_limit(),
		.used = shmheap_quota_used(q),
		.max_instances = shmheap_quota_max_instances(),
		.instances = shmheap_quota_instances(q),
		.max_channels = SHMHEAP_CHANNELS,
	};
	shmheap_quota_put(q);
	return shmheap_args_out(arg, &a, sizeof(a));
}

struct shmheap_instance *shmheap_get_fd(int fd)
{
	struct file *file = fget(fd);
	struct shmheap_instance *inst;

	if (!file)
		return ERR_PTR(-EBADF);
	inst = ERR_PTR(-EINVAL);
	if (file->f_op == &shmheap_file_operations || file->f_op == &nomap_operations) {
		inst = ERR_PTR(-EBADF);
		if (file->f_mode & FMODE_WRITE) {
			inst = ((struct peer *)file->private_data)->inst;
			shmheap_instance_hold(inst);
		}
	}
	fput(file);
	return inst;
}
EXPORT_SYMBOL_GPL(shmheap_get_fd);
