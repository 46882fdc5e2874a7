// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's side in the tests: a module that uses shmheap.ko as any other would. Writing the name of an
 * instance to /dev/shmheap_partner makes it work there until the descriptor is closed:
 *
 *	channel 0	each offset that comes in REPLY goes back in COMMAND, by a thread
 *	channel 1	each message goes back, with its number raised by one, by a thread
 *	channel 2	the same, for copies
 *	channel 3	a timer in hard interrupts pushes as many offsets as control word PUSH says, each tick
 *	control words	see below; looked at by a timer in hard interrupts, too
 *	stream		the timer writes as many records as control word RECORDS says, each tick
 *
 * Reading from it measures what the kernel pays, and returns text.
 */
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/netlink.h>
#include <linux/relay.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <net/net_namespace.h>
#include <net/sock.h>
#include "shmheap_kernel.h"

/* Control words. */
enum {
	WORD_ASK = 0, /* the program's; the timer copies it to WORD_ANSWER */
	WORD_ANSWER = 1,
	WORD_TORN = 2, /* how often the group was not of one piece */
	WORD_READ = 3, /* how often it was read */
	WORD_RECORDS = 4, /* a tick; counted down in WORD_WRITTEN */
	WORD_PUSH = 5, /* a tick; offsets from WORD_PUSH_BASE on, 64 bytes apart */
	WORD_PUSH_BASE = 6,
	WORD_PUSHED = 7,
	WORD_WRITTEN = 8,
	WORD_SEQ = 16, /* of the group */
	WORD_GROUP = 17,
	GROUP_WORDS = 4,
};

#define MOST_A_TICK 64
#define PAYLOAD 8192

struct work {
	struct shmheap_channel *channel;
	struct task_struct *thread;
	char *payload;
};

struct partner {
	struct shmheap_instance *instance;
	struct work works[3];
	struct shmheap_channel *pushes;
	struct hrtimer timer;
	bool ticking;
	u64 records;
	u64 pushed;
	u64 read;
	u64 torn;
};

static unsigned long word; /* what a program would do without control words */
module_param(word, ulong, 0644);
MODULE_PARM_DESC(word, "a number that programs change through sysfs");

/* bounce_offset() - send one offset back; returns what shmheap_pop() did. */
static int bounce_offset(struct work *w)
{
	u64 off;
	int err = shmheap_pop(w->channel, SHMHEAP_REPLY, &off);

	if (err)
		return err;
	while (shmheap_push(w->channel, SHMHEAP_COMMAND, off) == -ENOSPC && !kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

static int bounce_message(struct work *w)
{
	struct shmheap_message msg;
	int err = shmheap_recv(w->channel, &msg, w->payload, PAYLOAD);

	if (err)
		return err;
	msg.id++;
	while (shmheap_send(w->channel, &msg, w->payload) == -EAGAIN && !kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

static int bounce(struct work *w, int (*one)(struct work *w))
{
	while (!kthread_should_stop()) {
		int err = one(w);

		if (err == -EAGAIN || err == -ENOTCONN || err == -EPIPE)
			shmheap_wait(w->channel, SHMHEAP_REPLY, HZ / 2);
		cond_resched();
	}
	return 0;
}

static int bounce_offsets(void *data)
{
	return bounce(data, bounce_offset);
}

static int bounce_messages(void *data)
{
	return bounce(data, bounce_message);
}

static void look_at_group(struct partner *p)
{
	u64 got[GROUP_WORDS];
	int i;

	if (shmheap_ctl_read_group(p->instance, WORD_SEQ, WORD_GROUP, GROUP_WORDS, got))
		return;
	p->read++;
	for (i = 1; i < GROUP_WORDS; i++) {
		if (got[i] != got[0]) {
			p->torn++;
			break;
		}
	}
	shmheap_ctl_write(p->instance, WORD_READ, p->read);
	shmheap_ctl_write(p->instance, WORD_TORN, p->torn);
}

static enum hrtimer_restart tick(struct hrtimer *timer)
{
	struct partner *p = container_of(timer, struct partner, timer);
	struct shmheap_instance *inst = p->instance;
	u64 n, base = shmheap_ctl_read(inst, WORD_PUSH_BASE);

	shmheap_ctl_write(inst, WORD_ANSWER, shmheap_ctl_read(inst, WORD_ASK));
	look_at_group(p);
	for (n = min_t(u64, shmheap_ctl_read(inst, WORD_RECORDS), MOST_A_TICK); n; n--) {
		if (!shmheap_stream_write(inst, 7, &p->records, sizeof(p->records)))
			p->records++;
	}
	for (n = min_t(u64, shmheap_ctl_read(inst, WORD_PUSH), MOST_A_TICK); n; n--) {
		if (shmheap_push(p->pushes, SHMHEAP_COMMAND, base + 64 * (p->pushed % 64)))
			break;
		p->pushed++;
	}
	shmheap_ctl_write(inst, WORD_WRITTEN, p->records);
	shmheap_ctl_write(inst, WORD_PUSHED, p->pushed);
	hrtimer_forward_now(timer, ms_to_ktime(2));
	return HRTIMER_RESTART;
}

static void stop(struct partner *p)
{
	size_t i;

	if (p->ticking)
		hrtimer_cancel(&p->timer);
	for (i = 0; i < ARRAY_SIZE(p->works); i++) {
		if (p->works[i].thread)
			kthread_stop(p->works[i].thread);
		kvfree(p->works[i].payload);
	}
	shmheap_put(p->instance);
	kfree(p);
}

static int start_work(struct partner *p, unsigned int n, int (*run)(void *data))
{
	struct work *w = &p->works[n];

	w->channel = shmheap_channel(p->instance, n);
	if (IS_ERR(w->channel))
		return PTR_ERR(w->channel);
	w->payload = kvmalloc(PAYLOAD, GFP_KERNEL);
	if (!w->payload)
		return -ENOMEM;
	w->thread = kthread_run(run, w, "partner/%u", n);
	if (IS_ERR(w->thread)) {
		int err = PTR_ERR(w->thread);

		w->thread = NULL;
		return err;
	}
	return 0;
}

static int start(struct partner *p)
{
	int err = start_work(p, 0, bounce_offsets);

	if (!err)
		err = start_work(p, 1, bounce_messages);
	if (!err)
		err = start_work(p, 2, bounce_messages);
	if (err)
		return err;
	p->pushes = shmheap_channel(p->instance, 3);
	if (IS_ERR(p->pushes))
		return PTR_ERR(p->pushes);
#ifdef PARTNER_HAVE_HRTIMER_SETUP /* since 6.13; the other way went with 6.15 */
	hrtimer_setup(&p->timer, tick, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#else
	hrtimer_init(&p->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	p->timer.function = tick;
#endif
	p->ticking = true;
	hrtimer_start(&p->timer, ms_to_ktime(2), HRTIMER_MODE_REL);
	return 0;
}

static ssize_t partner_write(struct file *file, const char __user *data, size_t len, loff_t *pos)
{
	char name[SHMHEAP_NAME_SIZE] = "";
	struct partner *p;
	int err;

	if (len >= sizeof(name))
		return -EINVAL;
	if (copy_from_user(name, data, len))
		return -EFAULT;
	p = kzalloc(sizeof(*p), GFP_KERNEL);
	if (!p)
		return -ENOMEM;
	p->instance = shmheap_get(name);
	if (IS_ERR(p->instance)) {
		err = PTR_ERR(p->instance);
		kfree(p);
		return err;
	}
	err = start(p);
	if (!err && cmpxchg(&file->private_data, NULL, p))
		err = -EBUSY;
	if (err) {
		stop(p);
		return err;
	}
	return len;
}

/* How long it takes the kernel to tell somebody of 32 bytes, in picoseconds for each of many. */
#define TIMES 20000

struct told {
	u64 number[4];
};

static u64 picoseconds(ktime_t begin)
{
	return div_u64(1000 * ktime_to_ns(ktime_sub(ktime_get(), begin)), TIMES);
}

static u64 measure_stream(struct shmheap_instance *inst)
{
	struct told told = {};
	ktime_t begin = ktime_get();
	int i;

	for (i = 0; i < TIMES; i++) {
		told.number[0] = i;
		shmheap_stream_write(inst, 1, &told, sizeof(told));
	}
	return picoseconds(begin);
}

static u64 measure_ctl(struct shmheap_instance *inst)
{
	ktime_t begin = ktime_get();
	u64 sum = 0;
	int i;

	for (i = 0; i < TIMES; i++)
		sum += shmheap_ctl_read(inst, WORD_ASK);
	OPTIMIZER_HIDE_VAR(sum);
	return picoseconds(begin);
}

#ifdef CONFIG_TRACING
static u64 measure_trace(void)
{
	ktime_t begin = ktime_get();
	int i;

	for (i = 0; i < TIMES; i++)
		trace_printk("%d %d %d %d\n", i, 0, 0, 0);
	return picoseconds(begin);
}
#else
static u64 measure_trace(void)
{
	return 0;
}
#endif

#if defined(CONFIG_RELAY) && defined(CONFIG_DEBUG_FS)
#ifdef PARTNER_HAVE_RELAY_PADDING /* until 6.16 */
static int overwrite(struct rchan_buf *buf, void *next, void *prev, size_t padding)
#else
static int overwrite(struct rchan_buf *buf, void *next, void *prev)
#endif
{
	return 1;
}

static struct dentry *create_buffer(const char *name, struct dentry *parent, umode_t mode,
				    struct rchan_buf *buf, int *is_global)
{
	return debugfs_create_file(name, mode, parent, buf, &relay_file_operations);
}

static int remove_buffer(struct dentry *dentry)
{
	debugfs_remove(dentry);
	return 0;
}

static const struct rchan_callbacks relay_callbacks = {
	.subbuf_start = overwrite,
	.create_buf_file = create_buffer,
	.remove_buf_file = remove_buffer,
};

static u64 measure_relay(void)
{
	struct rchan *chan = relay_open("shmheap_partner", NULL, 64 << 10, 4,
					&relay_callbacks, NULL);
	struct told told = {};
	ktime_t begin = ktime_get();
	u64 took;
	int i;

	if (!chan)
		return 0;
	for (i = 0; i < TIMES; i++) {
		told.number[0] = i;
		relay_write(chan, &told, sizeof(told));
	}
	took = picoseconds(begin);
	relay_close(chan);
	return took;
}
#else
static u64 measure_relay(void)
{
	return 0;
}
#endif

static ssize_t partner_read(struct file *file, char __user *data, size_t len, loff_t *pos)
{
	struct partner *p = READ_ONCE(file->private_data);
	char text[160];
	int n;

	if (!p)
		return -ENOTCONN;
	if (*pos)
		return 0;
	n = scnprintf(text, sizeof(text), "stream %llu trace_printk %llu relay %llu control %llu\n",
		      measure_stream(p->instance), measure_trace(), measure_relay(),
		      measure_ctl(p->instance));
	if (len < n)
		return -EINVAL;
	if (copy_to_user(data, text, n))
		return -EFAULT;
	*pos += n;
	return n;
}

/* Any call copies its argument in and out again: what a message costs by ioctl. */
static long partner_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct told told;

	if (copy_from_user(&told, (void __user *)arg, sizeof(told)))
		return -EFAULT;
	told.number[0]++;
	if (copy_to_user((void __user *)arg, &told, sizeof(told)))
		return -EFAULT;
	return 0;
}

static int partner_open(struct inode *inode, struct file *file)
{
	file->private_data = NULL; /* the misc device's */
	return 0;
}

static int partner_release(struct inode *inode, struct file *file)
{
	if (file->private_data)
		stop(file->private_data);
	return 0;
}

static const struct file_operations partner_operations = {
	.owner = THIS_MODULE,
	.open = partner_open,
	.release = partner_release,
	.read = partner_read,
	.write = partner_write,
	.unlocked_ioctl = partner_ioctl,
};

static struct miscdevice partner_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "shmheap_partner",
	.fops = &partner_operations,
	.mode = 0600,
};

/* Each message to this protocol goes back to who sent it: what a message costs by netlink. */
#define PROTOCOL 31

static struct sock *netlink;

static void bounce_netlink(struct sk_buff *skb)
{
	struct sk_buff *back = skb_copy(skb, GFP_KERNEL);

	if (back)
		netlink_unicast(netlink, back, NETLINK_CB(skb).portid, MSG_DONTWAIT);
}

static int __init partner_init(void)
{
	struct netlink_kernel_cfg cfg = { .input = bounce_netlink };
	int err = misc_register(&partner_device);

	if (err)
		return err;
	netlink = netlink_kernel_create(&init_net, PROTOCOL, &cfg);
	if (!netlink) {
		misc_deregister(&partner_device);
		return -ENOMEM;
	}
	return 0;
}
module_init(partner_init);

static void __exit partner_exit(void)
{
	netlink_kernel_release(netlink);
	misc_deregister(&partner_device);
}
module_exit(partner_exit);

MODULE_DESCRIPTION("The kernel's side in the tests of shmheap.ko");
MODULE_LICENSE("GPL");
