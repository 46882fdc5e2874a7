// SPDX-License-Identifier: GPL-2.0
//go:build ignore

/*
 * Readers of a stream. Each has a place in each ring of its own; what was overwritten before it
 * came there, and what was refused, is told as a record of how many are lost: records read and
 * lost add up to those that were written.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include "args.h"
#include "compat.h"
#include "instance.h"
#include "stream.h"
#include "stream_file.h"

/* A place in a ring. Changed under the reader's lock, looked at without it by arm(). */
struct place {
	u64 next; /* record */
	u64 dropped; /* how many of those that were refused have been told */
	u64 lost; /* not told yet */
};

/**
 * struct reader - an open stream
 * @inst: held
 * @lock: of @record and what follows
 * @record: a copy of the one that is being given, of a slot's size
 * @cpu: whose ring comes next
 * @places: one for each ring
 */
struct reader {
	struct shmheap_instance *inst;
	struct mutex lock; /* of all below */
	struct shmheap_record *record;
	u32 cpu;
	struct place places[];
};

static struct shmheap_ring_stream *stream_of(const struct reader *r)
{
	return r->inst->stream;
}

/*
 * look() says what is at a place: 1 a record, which is copied; 0 nothing yet; -1 one that is lost.
 */
static int look(struct reader *r, u32 cpu, u64 n)
{
	struct shmheap_ring_stream *s = stream_of(r);
	const struct shmheap_record *slot = shmheap_stream_slot(s, cpu, n);
	u64 seq = smp_load_acquire(&slot->seq); /* pairs with the release in fill() */

	if (seq != n + 1)
		return seq > n + 1 ? -1 : 0;
	data_race(memcpy(r->record, slot, s->slot)); /* judged by the second look */
	smp_rmb(); /* pairs with the write barrier in fill() */
	if (READ_ONCE(slot->seq) != n + 1)
		return -1;
	r->record->seq = seq;
	return 1;
}

/* catch_up() leaves what has been overwritten, and half a ring besides, behind. */
static void catch_up(struct shmheap_ring_stream *s, struct place *p, u64 head)
{
	u64 slots = 1ULL << s->order;
	u64 to = head - min(head, slots / 2);

	if (to > p->next) {
		p->lost += to - p->next;
		WRITE_ONCE(p->next, to);
	}
}

/*
 * next_of() copies the next record of a ring, or makes one of losses. False when there is nothing.
 */
static bool next_of(struct reader *r, u32 cpu)
{
	struct shmheap_ring_stream *s = stream_of(r);
	struct shmheap_stream_ring *ring = shmheap_stream_ring(s, cpu);
	struct place *p = &r->places[cpu];
	u64 head = READ_ONCE(ring->head), dropped = READ_ONCE(ring->dropped);
	int found = 0;

	if (head - p->next > 1ULL << s->order)
		catch_up(s, p, head);
	p->lost += dropped - p->dropped;
	WRITE_ONCE(p->dropped, dropped);
	if (!p->lost && p->next != head)
		found = look(r, cpu, p->next);
	if (found < 0)
		catch_up(s, p, READ_ONCE(ring->head));
	if (p->lost) {
		*r->record = (struct shmheap_record) {
			.seq = p->next + 1, .bytes = 8, .type = SHMHEAP_RECORD_LOST, .cpu = cpu,
		};
		memcpy(r->record->data, &p->lost, 8);
		return true;
	}
	return found > 0;
}

/* taken() moves on behind the record that next_of() has made. */
static void taken(struct reader *r, u32 cpu)
{
	struct place *p = &r->places[cpu];

	if (r->record->type == SHMHEAP_RECORD_LOST)
		p->lost = 0;
	else
		WRITE_ONCE(p->next, p->next + 1);
}

/* give() copies a record out if there is room: bytes, 0 when there is not, EFAULT. */
static ssize_t give(struct reader *r, char __user *buf, size_t room)
{
	size_t n = sizeof(*r->record) + round_up(r->record->bytes, 8);

	if (n > room)
		return 0;
	return copy_to_user(buf, r->record, n) ? -EFAULT : n;
}

/* give_ring() gives records of one ring until that is empty or there is no room. */
static ssize_t give_ring(struct reader *r, u32 cpu, char __user *buf, size_t room, bool *full)
{
	ssize_t n, done = 0;

	while (!fatal_signal_pending(current) && next_of(r, cpu)) {
		n = give(r, buf + done, room - done);
		*full = n == 0;
		if (n <= 0)
			return done ?: n;
		taken(r, cpu);
		done += n;
		cond_resched();
	}
	return done;
}

/*
 * give_all() goes round the rings, and begins the next time behind the one where it had to stop: a
 * ring that is written as fast as it is read does not keep the others from being read.
 */
static ssize_t give_all(struct reader *r, char __user *buf, size_t room)
{
	ssize_t n, done = 0;
	bool full = false;
	u32 i;

	for (i = 0; i < nr_cpu_ids && !full; i++) {
		n = give_ring(r, r->cpu, buf + done, room - done, &full);
		if (n < 0)
			return done ?: n;
		done += n;
		r->cpu = (r->cpu + 1) % nr_cpu_ids;
	}
	return done ?: full ? -EINVAL : 0;
}

/*
 * arm() announces a sleeper and looks: whatever it does not see here, its writer sees the
 * announcement. The exchange is a full barrier, which pairs with the one in
 * shmheap_stream_write().
 */
static bool arm(struct reader *r)
{
	struct shmheap_ring_stream *s = stream_of(r);
	struct shmheap_stream_ring *ring;
	u32 cpu;

	xchg(&s->armed, 1);
	for (cpu = 0; cpu < nr_cpu_ids; cpu++) {
		ring = shmheap_stream_ring(s, cpu);
		if (READ_ONCE(ring->dropped) != READ_ONCE(r->places[cpu].dropped))
			return true;
		if (READ_ONCE(ring->head) != READ_ONCE(r->places[cpu].next))
			return true;
	}
	return false;
}

static ssize_t try_read(struct reader *r, char __user *buf, size_t room)
{
	ssize_t n;

	if (mutex_lock_interruptible(&r->lock))
		return -ERESTARTSYS;
	n = give_all(r, buf, room);
	mutex_unlock(&r->lock);
	return n;
}

static ssize_t stream_read(struct file *file, char __user *buf, size_t room, loff_t *pos)
{
	struct reader *r = file->private_data;
	ssize_t n;
	int err;

	for (;;) {
		n = try_read(r, buf, room);
		if (n)
			return n;
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		err = wait_event_interruptible(stream_of(r)->wait, arm(r));
		if (err)
			return err;
		/* It has not slept where a record is still being written. */
		if (signal_pending(current))
			return -ERESTARTSYS;
		cond_resched();
	}
}

static __poll_t stream_poll(struct file *file, poll_table *wait)
{
	struct reader *r = file->private_data;

	poll_wait(file, &stream_of(r)->wait, wait);
	return arm(r) ? EPOLLIN | EPOLLRDNORM : 0;
}

/*
 * note_seen() moves the places to where a program that maps says it is: anywhere but ahead of the
 * writers, as nothing would be there ever.
 */
static int note_seen(struct reader *r, const struct shmheap_stream_ring __user *from)
{
	struct shmheap_stream_ring seen, *ring;
	struct place *p;
	u32 cpu;

	for (cpu = 0; cpu < nr_cpu_ids; cpu++) {
		if (copy_from_user(&seen, from + cpu, sizeof(seen)))
			return -EFAULT;
		ring = shmheap_stream_ring(stream_of(r), cpu);
		if (seen.head > READ_ONCE(ring->head) || seen.dropped > READ_ONCE(ring->dropped))
			return -EINVAL;
		p = &r->places[cpu];
		WRITE_ONCE(p->next, seen.head);
		WRITE_ONCE(p->dropped, seen.dropped);
		p->lost = 0;
	}
	return 0;
}

static int ioctl_seen(struct reader *r, unsigned long arg)
{
	struct shmheap_stream_seen a;
	int err = shmheap_args_in(&a, arg, sizeof(a));

	if (err)
		return err;
	if (a.flags || a.pad || a.cpus != nr_cpu_ids)
		return -EINVAL;
	if (mutex_lock_interruptible(&r->lock))
		return -ERESTARTSYS;
	err = note_seen(r, u64_to_user_ptr(a.rings));
	mutex_unlock(&r->lock);
	return err;
}

static long stream_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return cmd == SHMHEAP_IOC_SEEN ? ioctl_seen(file->private_data, arg) : -ENOTTY;
}

static int stream_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct shmheap_ring_stream *s = stream_of(file->private_data);
	size_t off;
	int err;

	if (vma->vm_flags & (VM_WRITE | VM_EXEC))
		return -EACCES;
	if (vma->vm_pgoff)
		return -ENXIO;
	if (vma->vm_end - vma->vm_start != PAGE_ALIGN(s->bytes))
		return -EINVAL;
	shmheap_vm_flags_mod(vma, VM_DONTEXPAND | VM_DONTDUMP, VM_MAYWRITE | VM_MAYEXEC);
	for (off = 0; off < s->bytes; off += PAGE_SIZE) {
		err = vm_insert_page(vma, vma->vm_start + off, vmalloc_to_page(s->map + off));
		if (err)
			return err;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

static int stream_release(struct inode *inode, struct file *file)
{
	struct reader *r = file->private_data;

	shmheap_put(r->inst);
	kfree(r->record);
	kvfree(r);
	return 0;
}

static const struct file_operations stream_operations = {
	.owner = THIS_MODULE,
	.read = stream_read,
	.poll = stream_poll,
	.mmap = stream_mmap,
	.unlocked_ioctl = stream_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.release = stream_release,
};

/* begin() sets the places: at the next records, or at the oldest. */
static void begin(struct reader *r, bool oldest)
{
	struct shmheap_stream_ring *ring;
	u32 cpu;

	for (cpu = 0; cpu < nr_cpu_ids; cpu++) {
		ring = shmheap_stream_ring(stream_of(r), cpu);
		r->places[cpu].dropped = oldest ? 0 : READ_ONCE(ring->dropped);
		r->places[cpu].next = oldest ? 0 : READ_ONCE(ring->head);
	}
}

static struct reader *new_reader(struct shmheap_instance *inst, bool oldest)
{
	struct reader *r = kvzalloc(struct_size(r, places, nr_cpu_ids), GFP_KERNEL_ACCOUNT);

	if (!r)
		return NULL;
	r->record = kzalloc(inst->stream->slot, GFP_KERNEL_ACCOUNT);
	if (!r->record) {
		kvfree(r);
		return NULL;
	}
	r->inst = inst;
	mutex_init(&r->lock);
	begin(r, oldest);
	return r;
}

static struct file *new_file(struct shmheap_instance *inst, u32 flags)
{
	struct reader *r = new_reader(inst, flags & SHMHEAP_STREAM_OLDEST);
	struct file *file;

	if (!r)
		return ERR_PTR(-ENOMEM);
	file = anon_inode_getfile("[shmheap-stream]", &stream_operations, r,
				  O_RDONLY | (flags & SHMHEAP_NONBLOCK ? O_NONBLOCK : 0));
	if (IS_ERR(file)) {
		kfree(r->record);
		kvfree(r);
		return file;
	}
	shmheap_instance_hold(inst);
	return file;
}

int shmheap_stream_file_open(struct shmheap_instance *inst, unsigned long arg)
{
	struct shmheap_stream_open a;
	struct file *file;
	int fd, err = shmheap_args_in(&a, arg, sizeof(a));

	if (err)
		return err;
	if (a.flags & ~(SHMHEAP_NONBLOCK | SHMHEAP_STREAM_OLDEST) || a.pad)
		return -EINVAL;
	if (!inst->stream)
		return -ENOTCONN;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	file = new_file(inst, a.flags);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	shmheap_stream_watch(inst->stream);
	a.bytes = inst->stream->bytes;
	a.fd = fd;
	return shmheap_give_fd(file, arg, &a, sizeof(a), fd);
}
