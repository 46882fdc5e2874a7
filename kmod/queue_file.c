// SPDX-License-Identifier: GPL-2.0
//go:build ignore

/*
 * Descriptors of queues: programs wait with them, and wake the kernel.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/hrtimer.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include "args.h"
#include "instance.h"
#include "port.h"
#include "queue_file.h"

/**
 * struct end - a program's end of a queue
 * @ch: its instance is held
 * @role: which queue
 * @port: one of its users
 */
struct end {
	struct shmheap_channel *ch;
	enum shmheap_role role;
	struct shmheap_port *port;
};

static struct shmheap_side *side_of(const struct end *e)
{
	return &e->ch->side[e->role];
}

/* ready() announces a sleeper and reports what the program could do. */
static __poll_t ready(struct end *e)
{
	shmheap_side_arm(side_of(e));
	if (shmheap_to_programs(e->role))
		return shmheap_ring_readable(&e->port->ring) ? EPOLLIN | EPOLLRDNORM : 0;
	return shmheap_ring_writable(&e->port->ring) ? EPOLLOUT | EPOLLWRNORM : 0;
}

static __poll_t queue_poll(struct file *file, poll_table *wait)
{
	struct end *e = file->private_data;

	poll_wait(file, &side_of(e)->programs, wait);
	return ready(e);
}

static int queue_release(struct inode *inode, struct file *file)
{
	struct end *e = file->private_data;
	struct shmheap_instance *inst = e->ch->inst;

	shmheap_port_detach(e->ch, e->role, e->port);
	shmheap_put(inst);
	kfree(e);
	return 0;
}

static ssize_t queue_write(struct file *file, const char __user *buf, size_t n, loff_t *pos)
{
	struct end *e = file->private_data;

	shmheap_channel_kick(e->ch, e->role);
	return n;
}

static int wait_ready(struct end *e, u64 deadline)
{
	ktime_t t = deadline > KTIME_MAX ? KTIME_MAX : (ktime_t)deadline;
	bool late = deadline == SHMHEAP_NO_WAIT;
	DEFINE_WAIT(wait);
	int err = 0;

	while (!err) {
		prepare_to_wait(&side_of(e)->programs, &wait, TASK_INTERRUPTIBLE);
		if (ready(e))
			break;
		if (late)
			err = -ETIMEDOUT;
		else if (signal_pending(current))
			err = -ERESTARTSYS;
		else
			late = !schedule_hrtimeout_range(&t, 0, HRTIMER_MODE_ABS);
	}
	finish_wait(&side_of(e)->programs, &wait);
	return err;
}

static int ioctl_wait(struct end *e, unsigned long arg)
{
	struct shmheap_queue_wait a;
	int err = shmheap_args_in(&a, arg, sizeof(a));

	if (err || a.flags)
		return err ?: -EINVAL;
	return wait_ready(e, a.deadline);
}

static int ioctl_eventfd(struct end *e, unsigned long arg)
{
	struct shmheap_queue_eventfd a;
	int err = shmheap_args_in(&a, arg, sizeof(a));

	if (err)
		return err;
	if (a.flags || a.pad || a.fd < -1 || !shmheap_to_programs(e->role))
		return -EINVAL;
	return shmheap_side_eventfd(e->ch, side_of(e), a.fd);
}

static int ioctl_qstat(struct end *e, unsigned long arg)
{
	struct shmheap_queue_stat a;
	struct shmheap_counts *c;
	int cpu, err = shmheap_args_in(&a, arg, sizeof(a));

	if (err)
		return err;
	a = (struct shmheap_queue_stat) { .size = sizeof(a) };
	a.lost = READ_ONCE(e->port->ring.lost);
	for_each_possible_cpu(cpu) {
		c = per_cpu_ptr(side_of(e)->counts, cpu);
		a.pushed += READ_ONCE(c->pushed);
		a.popped += READ_ONCE(c->popped);
		a.full += READ_ONCE(c->full);
		a.bad += READ_ONCE(c->bad);
		a.wakes += READ_ONCE(c->wakes);
		a.kicks += READ_ONCE(c->kicks);
		a.stranded += READ_ONCE(c->stranded);
	}
	return shmheap_args_out(arg, &a, sizeof(a));
}

static long queue_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct end *e = file->private_data;

	switch (cmd) {
	case SHMHEAP_IOC_WAIT:
		return ioctl_wait(e, arg);
	case SHMHEAP_IOC_KICK:
		shmheap_channel_kick(e->ch, e->role);
		return 0;
	case SHMHEAP_IOC_EVENTFD:
		return ioctl_eventfd(e, arg);
	case SHMHEAP_IOC_QSTAT:
		return ioctl_qstat(e, arg);
	}
	return -ENOTTY;
}

static const struct file_operations queue_operations = {
	.owner = THIS_MODULE,
	.poll = queue_poll,
	.write = queue_write,
	.release = queue_release,
	.unlocked_ioctl = queue_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

/* new_end() attaches the queue that is asked for. */
static struct end *new_end(struct shmheap_instance *inst, const struct shmheap_queue_attach *a)
{
	struct end *e = kzalloc(sizeof(*e), GFP_KERNEL_ACCOUNT);

	if (!e)
		return ERR_PTR(-ENOMEM);
	e->role = array_index_nospec(a->role, SHMHEAP_ROLES);
	e->ch = shmheap_channel(inst, a->channel);
	e->port = ERR_CAST(e->ch);
	if (!IS_ERR(e->ch))
		e->port = shmheap_port_attach(e->ch, e->role, a->offset, a->block);
	if (IS_ERR(e->port)) {
		struct shmheap_port *err = e->port;

		kfree(e);
		return ERR_CAST(err);
	}
	return e;
}

static struct file *new_file(struct shmheap_instance *inst, const struct shmheap_queue_attach *a)
{
	struct end *e = new_end(inst, a);
	struct file *file;

	if (IS_ERR(e))
		return ERR_CAST(e);
	file = anon_inode_getfile("[shmheap-queue]", &queue_operations, e,
				  O_RDWR | (a->flags & SHMHEAP_NONBLOCK ? O_NONBLOCK : 0));
	if (IS_ERR(file)) {
		shmheap_port_detach(e->ch, e->role, e->port);
		kfree(e);
		return file;
	}
	shmheap_instance_hold(inst);
	return file;
}

int shmheap_queue_file_open(struct shmheap_instance *inst, unsigned long arg)
{
	struct shmheap_queue_attach a;
	struct file *file;
	int fd, err = shmheap_args_in(&a, arg, sizeof(a));

	if (err)
		return err;
	if (a.flags & ~SHMHEAP_NONBLOCK || a.role >= SHMHEAP_ROLES || a.channel >= SHMHEAP_CHANNELS)
		return -EINVAL;
	if (a.block && !shmheap_block_ok(a.block))
		return -EINVAL;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	file = new_file(inst, &a);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	a.fd = fd;
	return shmheap_give_fd(file, arg, &a, sizeof(a), fd);
}
