/* SPDX-License-Identifier: GPL-2.0 */
/*
 * shmheap for other modules: the kernel's side of an instance. doc/kernel.md has the whole.
 *
 * Whatever a program can write is hostile: words of the region, of queues and of control pages may
 * change between two looks. These functions look once, check what they saw and copy before they
 * interpret; who reads blocks by other means must do the same.
 *
 * "Any context" below is process, softirq, hard interrupt and NMI, with or without locks held:
 * such a function takes no lock, does not sleep and does a bounded amount of work. "Process" may
 * sleep.
 *
 * Build with -I of this directory and of ../uapi, and with KBUILD_EXTRA_SYMBOLS naming the
 * Module.symvers of shmheap.ko.
 */
#ifndef _SHMHEAP_KERNEL_H
#define _SHMHEAP_KERNEL_H

#include <linux/notifier.h>
#include <linux/types.h>
#include "shmheap_kmod.h"

struct shmheap_instance;
struct shmheap_channel;

/**
 * shmheap_get() - look an instance up and hold it
 * @name: of a living instance
 *
 * Whoever will look at control words often does this once, and keeps the handle. The instance
 * lives as long as it is held, without programs too; then its words are what they left there, and
 * a program can open it again by its name.
 *
 * Context: process.
 * Return: the instance, to be given to shmheap_put(), or ERR_PTR(-ENOENT).
 */
struct shmheap_instance *shmheap_get(const char *name);

/**
 * shmheap_get_fd() - hold the instance behind a descriptor of the current process
 * @fd: of an instance, one with SHMHEAP_NOMAP too; open for writing, as the kernel writes
 *
 * Context: process.
 * Return: the instance, to be given to shmheap_put(), or ERR_PTR(-EBADF) or ERR_PTR(-EINVAL).
 */
struct shmheap_instance *shmheap_get_fd(int fd);

/**
 * shmheap_put() - let go of an instance
 * @inst: the instance, or NULL. Nothing of it, channels included, may be used from here on.
 *
 * Context: process.
 */
void shmheap_put(struct shmheap_instance *inst);

/**
 * shmheap_name() - the name of an instance
 * @inst: the instance
 *
 * Context: any.
 */
const char *shmheap_name(const struct shmheap_instance *inst);

/**
 * shmheap_base() - where programs have the region
 * @inst: the instance
 *
 * Context: any.
 */
u64 shmheap_base(const struct shmheap_instance *inst);

/**
 * shmheap_bytes() - the length of the region, 0 for none
 * @inst: the instance
 *
 * Context: any.
 */
u64 shmheap_bytes(const struct shmheap_instance *inst);

/* Control words. */

/**
 * shmheap_ctl_read() - load a control word, with acquire
 * @inst: the instance
 * @i: which, from 0 to SHMHEAP_CONTROL_WORDS - 1
 *
 * What the program stored before it stored the word (with release order) is seen by loads behind
 * this.
 *
 * Context: any.
 * Return: the word; 0 for an index that is out of range.
 */
u64 shmheap_ctl_read(const struct shmheap_instance *inst, unsigned int i);

/**
 * shmheap_ctl_read_group() - load words that change together
 * @inst: the instance
 * @seq: the sequence word
 * @first: the first word of the group
 * @n: how many
 * @out: where they go. Changed by a failed attempt too.
 *
 * It tries a few times and does not wait for a program that stands still in the middle of a
 * change: keep the last good values for that.
 *
 * Context: any.
 * Return: 0; -EAGAIN when the words were changing; -EINVAL.
 */
int shmheap_ctl_read_group(const struct shmheap_instance *inst, unsigned int seq,
			   unsigned int first, unsigned int n, u64 *out);

/**
 * shmheap_ctl_write() - store a control word, with release
 * @inst: the instance
 * @i: which
 * @value: what
 *
 * For acknowledgements and the like. Who writes which word is for the two sides to agree upon.
 *
 * Context: any.
 */
void shmheap_ctl_write(struct shmheap_instance *inst, unsigned int i, u64 value);

/* The region. */

/**
 * shmheap_offset_of() - translate a program's address
 * @inst: the instance
 * @addr: as the program has it
 * @len: bytes from there on
 * @off: the distance from the base
 *
 * Context: any.
 * Return: 0, or -EFAULT unless all of it is in the region.
 */
int shmheap_offset_of(const struct shmheap_instance *inst, u64 addr, size_t len, u64 *off);

/**
 * shmheap_copy_from() - copy out of the region
 * @inst: the instance
 * @off: from where
 * @to: to where
 * @len: how many bytes
 *
 * Context: any.
 * Return: 0, or -EFAULT when part of it is outside the region or has no storage.
 */
int shmheap_copy_from(struct shmheap_instance *inst, u64 off, void *to, size_t len);

/**
 * shmheap_copy_to() - copy into the region
 * @inst: the instance
 * @off: to where
 * @from: from where
 * @len: how many bytes
 *
 * Context: any.
 * Return: 0, or -EFAULT when part of it is outside the region or has no storage.
 */
int shmheap_copy_to(struct shmheap_instance *inst, u64 off, const void *from, size_t len);

/**
 * shmheap_pin() - get the kernel's own address of a few bytes of the region
 * @inst: the instance
 * @off: of the first
 * @len: how many; all within one SHMHEAP_GRANULE
 *
 * For words that both sides change atomically. They get storage, and keep it until
 * shmheap_unpin().
 *
 * Context: process.
 * Return: the address, or ERR_PTR(-EFAULT, -ENOMEM, -EDQUOT).
 */
void *shmheap_pin(struct shmheap_instance *inst, u64 off, size_t len);

/**
 * shmheap_unpin() - undo shmheap_pin()
 * @inst: the instance
 * @off: as for shmheap_pin()
 *
 * Context: process.
 */
void shmheap_unpin(struct shmheap_instance *inst, u64 off);

/* The stream. */

/**
 * shmheap_stream_write() - append a record to the lossy stream
 * @inst: the instance
 * @type: for the reader, not SHMHEAP_RECORD_LOST
 * @data: what is in it
 * @len: how many bytes: shmheap_stream_room() at most
 *
 * It overwrites the oldest record of this processor and never waits. Readers that sleep are woken.
 *
 * Context: any. Return: 0; -ENOTCONN without a stream; -EMSGSIZE; -ENOSPC when the record that was
 * interrupted is still open a whole ring behind (the reader is told).
 */
int shmheap_stream_write(struct shmheap_instance *inst, u16 type, const void *data, size_t len);

/**
 * shmheap_stream_room() - how many bytes fit into a record
 * @inst: the instance
 *
 * Context: any.
 * Return: bytes, 0 without a stream.
 */
size_t shmheap_stream_room(const struct shmheap_instance *inst);

/* Queues. */

/**
 * shmheap_channel() - a channel of an instance
 * @inst: the instance
 * @n: its number, below SHMHEAP_CHANNELS
 *
 * A channel is there as long as the instance; queues come and go in it with the programs that
 * attach them, and a kernel user need not know: without a queue, functions return -ENOTCONN.
 *
 * Context: process.
 * Return: the channel, ERR_PTR(-EINVAL) or ERR_PTR(-ENOMEM).
 */
struct shmheap_channel *shmheap_channel(struct shmheap_instance *inst, unsigned int n);

/**
 * shmheap_push() - push an offset
 * @ch: the channel
 * @role: SHMHEAP_COMMAND or SHMHEAP_COMPLETION
 * @off: in the region, a multiple of 8, not 0
 *
 * One compare-and-swap; any number of producers at once. What one context pushes is popped in the
 * order in which it was pushed. A program that sleeps is woken: at once where interrupts are on,
 * through irq_work elsewhere.
 *
 * Context: any. Return: 0; -ENOSPC when the queue is full; -EAGAIN when a program has put it into
 * a state in which the next slot cannot be found with a bounded number of looks; -ENOTCONN; -EPIPE
 * when the queue is closed; -EINVAL.
 */
int shmheap_push(struct shmheap_channel *ch, enum shmheap_role role, u64 off);

/**
 * shmheap_pop() - pop an offset
 * @ch: the channel
 * @role: SHMHEAP_REPLY or SHMHEAP_FILL
 * @off: it goes here: inside the region, a multiple of 8, with a block of the queue's behind it
 *
 * Context: any; any number of consumers at once. Return: 0; -EAGAIN when there is nothing (or as
 * in shmheap_push()); -EBADMSG for an element that is no offset: it is counted and gone, call
 * again; -ENOTCONN; -EPIPE when the queue is closed and empty.
 */
int shmheap_pop(struct shmheap_channel *ch, enum shmheap_role role, u64 *off);

/**
 * shmheap_wait() - wait until there may be something to pop
 * @ch: the channel
 * @role: SHMHEAP_REPLY or SHMHEAP_FILL
 * @timeout: in jiffies, or MAX_SCHEDULE_TIMEOUT
 *
 * Also wakes up when a queue is attached or goes away. The queue is looked at every half a second
 * in any case, as a producer may be killed between its push and its kick.
 *
 * Context: process. Return: 0 when it is worth a try; -ETIMEDOUT; -ERESTARTSYS on a signal; -EINTR
 * when a kernel thread should stop.
 */
int shmheap_wait(struct shmheap_channel *ch, enum shmheap_role role, long timeout);

/**
 * shmheap_arm() - ask to be kicked
 * @ch: the channel
 * @role: SHMHEAP_REPLY or SHMHEAP_FILL
 *
 * For those who do not sleep in shmheap_wait() but have a kick function. After it has popped until
 * -EAGAIN, the consumer arms, and pops on if that says so.
 *
 * Context: any.
 * Return: true when there may be something to pop already.
 */
bool shmheap_arm(struct shmheap_channel *ch, enum shmheap_role role);

/**
 * typedef shmheap_kick_fn - called when a program kicks a queue
 * @data: as given to shmheap_set_kick()
 * @role: which queue
 *
 * Context: process, the program's: may sleep, must not wait for it.
 */
typedef void (*shmheap_kick_fn)(void *data, enum shmheap_role role);

/**
 * shmheap_set_kick() - have a function called at each kick of a channel's queues
 * @ch: the channel
 * @fn: the function, or NULL
 * @data: for it
 *
 * When this returns, the function before is not called any more and has returned: so it must not
 * call this.
 *
 * Context: process.
 * Return: 0, or -EBUSY when there is one already.
 */
int shmheap_set_kick(struct shmheap_channel *ch, shmheap_kick_fn fn, void *data);

/* Messages: blocks that carry a struct shmheap_message. */

/**
 * shmheap_send() - send a message
 * @ch: the channel, which has FILL and COMMAND queues, or was made by SHMHEAP_IOC_COPIES
 * @msg: header; msg->bytes is the length of the payload
 * @data: payload
 *
 * Takes an empty block from FILL, copies the message into it and pushes it to COMMAND.
 *
 * Context: any. Return: 0; -EAGAIN when there is no empty block; -EMSGSIZE when blocks are too
 * small; and the errors of shmheap_push(): the block is kept for the next message then.
 */
int shmheap_send(struct shmheap_channel *ch, const struct shmheap_message *msg, const void *data);

/**
 * shmheap_recv() - receive a message
 * @ch: the channel, which has a REPLY queue, or was made by SHMHEAP_IOC_COPIES
 * @msg: header, as checked: msg->bytes is at most @capacity
 * @data: payload
 * @capacity: bytes at @data
 *
 * Pops a block from REPLY, copies it out, and gives it back through COMPLETION if there is one.
 *
 * Context: any. Return: 0, -EMSGSIZE (the message is gone, msg->bytes says how long it was), and
 * the errors of shmheap_pop(): -EBADMSG too when the header is nonsense.
 */
int shmheap_recv(struct shmheap_channel *ch, struct shmheap_message *msg, void *data,
		 size_t capacity);

/* Peers: open descriptions of the instance. */

/* What a notifier is told, with a struct shmheap_peer_event. */
enum shmheap_event {
	SHMHEAP_PEER_OPENED = 1,
	SHMHEAP_PEER_RELEASED = 2, /* closed, or its processes died */
	SHMHEAP_QUEUE_ATTACHED = 3,
	SHMHEAP_QUEUE_DETACHED = 4, /* the last descriptor of the queue is gone */
};

/**
 * struct shmheap_peer_event - what happened
 * @inst: where
 * @peers: how many there are now
 * @exiting: the process that released was on its way out
 * @channel: of a queue
 * @role: of a queue
 */
struct shmheap_peer_event {
	struct shmheap_instance *inst;
	u64 peers;
	bool exiting;
	u32 channel;
	u32 role;
};

/**
 * shmheap_notifier_register() - be told when peers and queues come and go
 * @inst: the instance
 * @nb: its notifier_call gets an enum shmheap_event and a struct shmheap_peer_event, in process
 *	context, and may sleep; it must not wait for programs, nor register or unregister.
 *
 * Context: process.
 * Return: 0, or -EEXIST.
 */
int shmheap_notifier_register(struct shmheap_instance *inst, struct notifier_block *nb);

/**
 * shmheap_notifier_unregister() - undo shmheap_notifier_register()
 * @inst: the instance
 * @nb: as registered. When this returns, it is not called any more.
 *
 * Context: process.
 * Return: 0, or -ENOENT.
 */
int shmheap_notifier_unregister(struct shmheap_instance *inst, struct notifier_block *nb);

/**
 * shmheap_peers() - how many open descriptions there are
 * @inst: the instance
 *
 * Context: any.
 */
u64 shmheap_peers(const struct shmheap_instance *inst);

#endif
