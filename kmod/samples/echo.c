// SPDX-License-Identifier: GPL-2.0
/*
 * A user of shmheap in the kernel: producers in threads, softirq and hard interrupts send numbered
 * messages at once, a program echoes them, and a consumer proves that each came back once and in
 * its producer's order. echo.h has the calls.
 */
#include <linux/bitops.h>
#include <linux/fs.h>
#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include "shmheap_kernel.h"
#include "echo.h"

#define ID_SHIFT 48
#define BURST 32 /* messages that an interrupt sends at most */
#define PAYLOAD 8
#define ENOUGH 1024 /* replies that are taken at once */

struct run;

struct producer {
	struct run *run;
	u32 id;
	u64 next; /* to send; the producer's own */
	struct task_struct *task;
};

/**
 * struct run - what a descriptor stands for
 * @lock: of START and the end
 * @inst: NULL before START
 * @ch: where
 * @each: messages of each producer
 * @producers: how many there are
 * @producer: threads, and then softirq and hard interrupt
 * @threads: of the producers
 * @softirq: one of the producers, or NULL
 * @hardirq: one of the producers, or NULL
 * @expected: next number from each producer; under @consumer_lock
 * @consumer: takes replies, unless who kicks does
 * @consumer_lock: one takes replies at a time
 * @timer: the softirq, and what sets the hard interrupt off
 * @work: the hard interrupt
 * @busy: bit 0: the hard interrupt is at work
 * @inlined: there is no @consumer
 * @stopping: @timer is not to be set any more, and who kicks is to leave
 * @done: all have come back
 * @sent: messages, and likewise what follows: see struct shmheap_echo_wait
 * @received: replies
 * @disordered: of them
 * @bad: replies that are none
 * @retries: of sends
 * @from_softirq: of @sent
 * @from_hardirq: of @sent
 */
struct run {
	struct mutex lock; /* of START */
	struct shmheap_instance *inst;
	struct shmheap_channel *ch;
	u64 each;
	u32 producers;
	u32 threads;
	struct producer producer[SHMHEAP_ECHO_PRODUCERS];
	struct producer *softirq, *hardirq;
	u64 expected[SHMHEAP_ECHO_PRODUCERS];
	struct task_struct *consumer;
	struct mutex consumer_lock; /* of expected */
	struct timer_list timer;
	struct irq_work work;
	unsigned long busy;
	bool inlined;
	bool stopping;
	wait_queue_head_t done;
	atomic64_t sent, received, disordered, bad, retries, from_softirq, from_hardirq;
};

static int send_next(struct producer *p)
{
	struct shmheap_message m = {
		.id = (u64)p->id << ID_SHIFT | p->next, .type = p->id, .bytes = PAYLOAD,
	};
	u64 payload = ~m.id;
	int err = shmheap_send(p->run->ch, &m, &payload);

	if (err) {
		atomic64_inc(&p->run->retries);
		return err;
	}
	WRITE_ONCE(p->next, p->next + 1);
	atomic64_inc(&p->run->sent);
	if (in_hardirq())
		atomic64_inc(&p->run->from_hardirq);
	else if (in_serving_softirq())
		atomic64_inc(&p->run->from_softirq);
	return 0;
}

/* burst() sends a few, and reports whether there are more to send. */
static bool burst(struct producer *p)
{
	int i;

	for (i = 0; i < BURST && p->next < p->run->each; i++)
		if (send_next(p))
			break;
	return p->next < p->run->each;
}

static void in_softirq_timer(struct timer_list *t)
{
	struct run *run = container_of(t, struct run, timer);
	bool more = run->softirq && burst(run->softirq);

	if (run->hardirq && READ_ONCE(run->hardirq->next) < run->each) {
		irq_work_queue(&run->work);
		more = true;
	}
	if (more && !READ_ONCE(run->stopping))
		mod_timer(&run->timer, jiffies + 1);
}

static void in_hardirq_work(struct irq_work *work)
{
	struct run *run = container_of(work, struct run, work);

	if (test_and_set_bit_lock(0, &run->busy)) /* still at work on another processor */
		return;
	burst(run->hardirq);
	clear_bit_unlock(0, &run->busy);
}

static void park(void)
{
	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (kthread_should_stop())
			break;
		schedule();
	}
	__set_current_state(TASK_RUNNING);
}

static int produce(void *data)
{
	struct producer *p = data;

	while (p->next < p->run->each && !kthread_should_stop()) {
		if (send_next(p))
			schedule_timeout_interruptible(1);
		else
			cond_resched();
	}
	park();
	return 0;
}

/* judge() says whether a message is the next of its producer. */
static void judge(struct run *run, const struct shmheap_message *m, u64 payload)
{
	u32 id = m->id >> ID_SHIFT;
	u64 n = m->id & ((1ULL << ID_SHIFT) - 1);

	if (id >= run->producers || m->type != id || m->bytes != PAYLOAD || payload != ~m->id) {
		atomic64_inc(&run->bad);
		return;
	}
	if (n != run->expected[id])
		atomic64_inc(&run->disordered);
	run->expected[id] = n + 1;
	if (atomic64_inc_return(&run->received) >= run->producers * run->each)
		wake_up_all(&run->done);
}

/*
 * take_some() takes replies until there are none, or enough, and reports the latter: a program that
 * never stops sending must not keep us for ever.
 */
static bool take_some(struct run *run)
{
	struct shmheap_message m;
	u64 payload;
	int i, err;

	for (i = 0; i < ENOUGH; i++) {
		payload = 0;
		err = shmheap_recv(run->ch, &m, &payload, sizeof(payload));
		if (!err)
			judge(run, &m, payload);
		else if (err == -EBADMSG || err == -EMSGSIZE)
			atomic64_inc(&run->bad);
		else
			return false;
		cond_resched();
	}
	return true;
}

static int consume(void *data)
{
	struct run *run = data;

	while (!kthread_should_stop()) {
		shmheap_wait(run->ch, SHMHEAP_REPLY, HZ);
		mutex_lock(&run->consumer_lock);
		take_some(run);
		mutex_unlock(&run->consumer_lock);
	}
	return 0;
}

static void kicked(void *data, enum shmheap_role role)
{
	struct run *run = data;
	bool more;

	if (role != SHMHEAP_REPLY)
		return;
	mutex_lock(&run->consumer_lock);
	do {
		more = take_some(run) || shmheap_arm(run->ch, SHMHEAP_REPLY);
	} while (more && !READ_ONCE(run->stopping) && !signal_pending(current));
	mutex_unlock(&run->consumer_lock);
}

/* begin_consumer() begins to take replies. */
static int begin_consumer(struct run *run)
{
	int err;

	if (!run->inlined) {
		run->consumer = kthread_run(consume, run, "shmheap_echo");
		err = PTR_ERR_OR_ZERO(run->consumer);
		if (err)
			run->consumer = NULL;
		return err;
	}
	err = shmheap_set_kick(run->ch, kicked, run);
	run->inlined = !err; /* else it is not ours to take away */
	if (!err)
		kicked(run, SHMHEAP_REPLY);
	return err;
}

static int begin_producers(struct run *run)
{
	struct producer *p;

	for (p = run->producer; p < run->producer + run->threads; p++) {
		p->task = kthread_run(produce, p, "shmheap_echo/%u", p->id);
		if (IS_ERR(p->task)) {
			int err = PTR_ERR(p->task);

			p->task = NULL;
			return err;
		}
	}
	if (run->softirq || run->hardirq)
		mod_timer(&run->timer, jiffies + 1);
	return 0;
}

/* end() stops whatever has begun. */
static void end(struct run *run)
{
	u32 i;

	WRITE_ONCE(run->stopping, true);
	timer_delete_sync(&run->timer);
	irq_work_sync(&run->work);
	for (i = 0; i < run->threads; i++)
		if (run->producer[i].task)
			kthread_stop(run->producer[i].task);
	if (run->consumer)
		kthread_stop(run->consumer);
	if (run->inlined && run->ch)
		shmheap_set_kick(run->ch, NULL, NULL);
	shmheap_put(run->inst);
}

static void add_producers(struct run *run, const struct shmheap_echo_start *a)
{
	u32 i;

	run->threads = a->threads;
	run->producers = a->threads + a->softirq + a->hardirq;
	run->each = a->each;
	run->inlined = a->flags & SHMHEAP_ECHO_INLINE;
	for (i = 0; i < run->producers; i++) {
		run->producer[i].run = run;
		run->producer[i].id = i;
	}
	if (a->softirq)
		run->softirq = &run->producer[a->threads];
	if (a->hardirq)
		run->hardirq = &run->producer[run->producers - 1];
}

static int start(struct run *run, const struct shmheap_echo_start *a)
{
	struct shmheap_instance *inst;
	struct shmheap_channel *ch;
	int err;

	if (run->inst)
		return -EBUSY;
	inst = shmheap_get_fd(a->fd);
	if (IS_ERR(inst))
		return PTR_ERR(inst);
	ch = shmheap_channel(inst, a->channel);
	if (IS_ERR(ch)) {
		shmheap_put(inst);
		return PTR_ERR(ch);
	}
	run->inst = inst; /* from here on the end undoes it */
	run->ch = ch;
	add_producers(run, a);
	err = begin_consumer(run);
	return err ?: begin_producers(run);
}

static int ioctl_start(struct run *run, void __user *arg)
{
	struct shmheap_echo_start a;
	int err;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	if (a.size != sizeof(a) || a.flags & ~SHMHEAP_ECHO_INLINE || a.pad || a.softirq > 1 ||
	    a.hardirq > 1 || a.threads > SHMHEAP_ECHO_PRODUCERS - 2 || !a.each ||
	    a.each >= 1ULL << 40 || a.threads + a.softirq + a.hardirq == 0)
		return -EINVAL;
	mutex_lock(&run->lock);
	err = start(run, &a);
	mutex_unlock(&run->lock);
	return err;
}

static bool has_begun(struct run *run)
{
	bool begun;

	mutex_lock(&run->lock);
	begun = run->inst;
	mutex_unlock(&run->lock);
	return begun;
}

static bool complete_now(struct run *run)
{
	return atomic64_read(&run->received) >= run->producers * run->each;
}

static int ioctl_wait(struct run *run, void __user *arg)
{
	struct shmheap_echo_wait a;
	long left;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	if (a.size != sizeof(a))
		return -EINVAL;
	if (!has_begun(run))
		return -ENOTCONN;
	left = wait_event_interruptible_timeout(run->done, complete_now(run),
						msecs_to_jiffies(a.timeout_ms));
	if (left < 0)
		return left;
	a.sent = atomic64_read(&run->sent);
	a.received = atomic64_read(&run->received);
	a.disordered = atomic64_read(&run->disordered);
	a.bad = atomic64_read(&run->bad);
	a.retries = atomic64_read(&run->retries);
	a.from_softirq = atomic64_read(&run->from_softirq);
	a.from_hardirq = atomic64_read(&run->from_hardirq);
	if (copy_to_user(arg, &a, sizeof(a)))
		return -EFAULT;
	return left ? 0 : -ETIMEDOUT;
}

/* What stream_records() needs. */
struct records {
	struct shmheap_instance *inst;
	u64 count;
	u16 type;
	int err;
};

static void stream_records(void *data)
{
	struct records *r = data;
	int err = 0;
	u64 i;

	for (i = 0; i < r->count; i++)
		err = shmheap_stream_write(r->inst, r->type, &i, sizeof(i)) ?: err;
	if (err)
		WRITE_ONCE(r->err, err);
}

static int ioctl_stream(void __user *arg)
{
	struct shmheap_echo_stream a;
	struct records r = {};
	u64 begin;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	if (a.size != sizeof(a) || a.hardirq > 1 || a.type >= SHMHEAP_RECORD_LOST ||
	    a.count > (a.hardirq ? 10000 : 10000000))
		return -EINVAL;
	r.inst = shmheap_get_fd(a.fd);
	if (IS_ERR(r.inst))
		return PTR_ERR(r.inst);
	r.count = a.count;
	r.type = a.type;
	begin = ktime_get_ns();
	if (a.hardirq)
		on_each_cpu(stream_records, &r, 1);
	else
		stream_records(&r);
	a.ns = ktime_get_ns() - begin;
	shmheap_put(r.inst);
	if (r.err)
		return r.err;
	return copy_to_user(arg, &a, sizeof(a)) ? -EFAULT : 0;
}

static int ioctl_word(void __user *arg)
{
	struct shmheap_instance *inst;
	struct shmheap_echo_word a;
	int err = 0;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	if (a.size != sizeof(a) || a.count > ARRAY_SIZE(a.values) || a.pad)
		return -EINVAL;
	inst = shmheap_get_fd(a.fd);
	if (IS_ERR(inst))
		return PTR_ERR(inst);
	if (a.count)
		err = shmheap_ctl_read_group(inst, a.seq, a.word, a.count, a.values);
	else
		a.values[0] = shmheap_ctl_read(inst, a.word);
	shmheap_put(inst);
	if (err)
		return err;
	return copy_to_user(arg, &a, sizeof(a)) ? -EFAULT : 0;
}

static long echo_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct run *run = file->private_data;

	switch (cmd) {
	case SHMHEAP_ECHO_IOC_START:
		return ioctl_start(run, (void __user *)arg);
	case SHMHEAP_ECHO_IOC_WAIT:
		return ioctl_wait(run, (void __user *)arg);
	case SHMHEAP_ECHO_IOC_STREAM:
		return ioctl_stream((void __user *)arg);
	case SHMHEAP_ECHO_IOC_WORD:
		return ioctl_word((void __user *)arg);
	case SHMHEAP_ECHO_IOC_PING:
		return 0;
	}
	return -ENOTTY;
}

static int echo_open(struct inode *inode, struct file *file)
{
	struct run *run = kzalloc(sizeof(*run), GFP_KERNEL_ACCOUNT);

	if (!run)
		return -ENOMEM;
	mutex_init(&run->lock);
	mutex_init(&run->consumer_lock);
	init_waitqueue_head(&run->done);
	timer_setup(&run->timer, in_softirq_timer, 0);
	init_irq_work(&run->work, in_hardirq_work);
	file->private_data = run;
	return 0;
}

static int echo_release(struct inode *inode, struct file *file)
{
	struct run *run = file->private_data;

	end(run);
	kfree(run);
	return 0;
}

static const struct file_operations echo_operations = {
	.owner = THIS_MODULE,
	.open = echo_open,
	.release = echo_release,
	.unlocked_ioctl = echo_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "shmheap_echo",
	.fops = &echo_operations,
	.mode = 0600,
};

module_misc_device(device);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("echo through shmheap: producers in threads, softirq and hard interrupts");
