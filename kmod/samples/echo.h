/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note OR MIT */
/*
 * The calls of /dev/shmheap_echo (sample_echo.ko): producers in the kernel send numbered commands
 * through a channel, a program sends each back, and the kernel counts what comes, and what comes
 * out of order.
 *
 * A descriptor is a run. Closing it ends the run.
 */
#ifndef _SHMHEAP_ECHO_H
#define _SHMHEAP_ECHO_H

#include "shmheap_kmod.h"

#define SHMHEAP_ECHO_DEVICE "/dev/shmheap_echo"
#define SHMHEAP_ECHO_PRODUCERS 16

/* Flags of START. */
#define SHMHEAP_ECHO_INLINE (1U << 0) /* replies are taken by who kicks, and not by a thread */

/*
 * START: begins to send. Producers 0 to threads - 1 are kernel threads; then, if asked for, come
 * one in softirq (a timer) and one in hard interrupts (irq_work). Each sends messages with
 *	id    producer << 48 | number, from 0
 *	type  producer
 *	bytes 8: the complement of id
 * When blocks or room run out, they try again later.
 */
struct shmheap_echo_start {
	__u32 size;
	__u32 flags;
	__s32 fd; /* of the instance */
	__u32 channel;
	__u32 threads;
	__u32 softirq; /* 0 or 1 */
	__u32 hardirq; /* 0 or 1 */
	__u32 pad;
	__u64 each; /* messages of each producer */
};

/*
 * WAIT: until all have come back, or timeout_ms have passed (ETIMEDOUT; the counts are set then
 * too). ENOTCONN before START.
 */
struct shmheap_echo_wait {
	__u32 size;
	__u32 timeout_ms;
	__u64 sent; /* out, from here on */
	__u64 received;
	__u64 disordered; /* not the next number of their producer */
	__u64 bad; /* no message of ours, or nonsense */
	__u64 retries; /* sends that had to be tried again */
	__u64 from_softirq; /* sent there, as the context itself says */
	__u64 from_hardirq;
};

/* STREAM: writes records of 8 bytes, numbered from 0, to the stream of an instance. */
struct shmheap_echo_stream {
	__u32 size;
	__s32 fd; /* of the instance */
	__u64 count;
	__u64 ns; /* out: how long that took */
	__u32 hardirq; /* 1: on all processors at once, in interrupts */
	__u32 type; /* of the records, below 0xffff */
};

/* WORD: what shmheap_ctl_read gives, and shmheap_ctl_read_group where count is not 0. */
struct shmheap_echo_word {
	__u32 size;
	__s32 fd; /* of the instance */
	__u32 word; /* the first */
	__u32 seq; /* the sequence word */
	__u32 count; /* words of the group, 8 at most */
	__u32 pad;
	__u64 values[8]; /* out */
};

#define SHMHEAP_ECHO_IOC_MAGIC 0xB8
#define SHMHEAP_ECHO_IOC_START _IOWR(SHMHEAP_ECHO_IOC_MAGIC, 0x00, struct shmheap_echo_start)
#define SHMHEAP_ECHO_IOC_WAIT _IOWR(SHMHEAP_ECHO_IOC_MAGIC, 0x01, struct shmheap_echo_wait)
#define SHMHEAP_ECHO_IOC_STREAM _IOWR(SHMHEAP_ECHO_IOC_MAGIC, 0x02, struct shmheap_echo_stream)
#define SHMHEAP_ECHO_IOC_WORD _IOWR(SHMHEAP_ECHO_IOC_MAGIC, 0x03, struct shmheap_echo_word)
/* PING does nothing: what a call costs. */
#define SHMHEAP_ECHO_IOC_PING _IO(SHMHEAP_ECHO_IOC_MAGIC, 0x04)

SHMHEAP_ASSERT(sizeof(struct shmheap_echo_start) == 40);
SHMHEAP_ASSERT(sizeof(struct shmheap_echo_wait) == 64);
SHMHEAP_ASSERT(sizeof(struct shmheap_echo_stream) == 32);
SHMHEAP_ASSERT(sizeof(struct shmheap_echo_word) == 88);

#endif
