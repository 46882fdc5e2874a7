/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note OR MIT */
/*
 * What programs and shmheap.ko say to each other: the calls of /dev/shmheap, and the words that
 * both see. Queues are those of shmheap.h, at offsets in the region. doc/kernel.md has the rules.
 *
 *	/dev/shmheap --CREATE, OPEN--> instance --QUEUE--> queue
 *	                                        --STREAM-> stream
 *
 * Each arrow gives a new descriptor, and each descriptor is the object: what it stands for lives
 * as long as somebody holds it (an instance also as long as it is mapped).
 *
 * An instance's descriptor behaves like a memfd with a sealed size: an inode of its own, so that
 * fstat tells instances apart and byte-range locks (F_OFD_SETLK) belong to the instance; pread,
 * which reads zeros where there is no storage; fallocate(0), which makes storage, and
 * fallocate(PUNCH_HOLE | KEEP_SIZE), which gives whole granules back (EBUSY for those that a queue
 * or the kernel uses, after the others have been given back); st_blocks, which counts it; fchmod
 * and fchown, which say who may OPEN; opening anew through /proc/self/fd. What is opened there for
 * reading or writing alone has INFO, STAT, PEERS, and to read STREAM: the other calls are EBADF. A
 * granule without storage gets it when it is touched, zeroed.
 *
 * Every argument begins with its own size. Unknown flags and padding that is not zero are EINVAL,
 * an unknown call is ENOTTY. All structs have the same layout on all 64-bit systems; 32-bit
 * programs are served too, but cannot map the region.
 */
#ifndef _UAPI_SHMHEAP_KMOD_H
#define _UAPI_SHMHEAP_KMOD_H

#include "shmheap.h"

#ifdef __KERNEL__
#include <linux/ioctl.h>
#else
#include <sys/ioctl.h>
#endif

#define SHMHEAP_DEVICE "/dev/shmheap"

/* Raised when something changes its meaning. What is added has a bit in shmheap_info.features. */
#define SHMHEAP_KMOD_VERSION 1

#define SHMHEAP_FEATURE_REGION (1ULL << 0)
#define SHMHEAP_FEATURE_QUEUES (1ULL << 1)
#define SHMHEAP_FEATURE_CONTROL (1ULL << 2)
#define SHMHEAP_FEATURE_STREAM (1ULL << 3)
#define SHMHEAP_FEATURE_COPIES (1ULL << 4)
#define SHMHEAP_FEATURE_PUNCH (1ULL << 5)
#define SHMHEAP_FEATURE_SEEN (1ULL << 6)

#define SHMHEAP_NAME_SIZE 64 /* with the zero at the end */
#define SHMHEAP_MAX_BYTES (1ULL << 40) /* of a region */
#define SHMHEAP_CHANNELS 64 /* of an instance, numbered from 0 */

/* Absolute times are CLOCK_MONOTONIC in nanoseconds. */
#define SHMHEAP_NO_WAIT 0ULL
#define SHMHEAP_FOREVER (~0ULL)

/*
 * Where mmap finds what, on an instance's descriptor. MAP_SHARED always (EOPNOTSUPP), never
 * PROT_EXEC (EPERM or EACCES), always the whole (EINVAL), at no other offset (ENXIO).
 *
 * REGION goes to the instance's base and nowhere else (EADDRNOTAVAIL); munmap and mprotect of a
 * part of it, and mremap, are EINVAL. A child of fork has it at the same address. CONTROL may be
 * anywhere.
 */
#define SHMHEAP_MMAP_REGION 0ULL
#define SHMHEAP_MMAP_CONTROL (1ULL << 56)

/* INFO: of the module. */
struct shmheap_info {
	__u32 size;
	__u32 version;
	__u64 features;
	__u32 page_size;
	__u32 granule; /* SHMHEAP_GRANULE: base and length of a region are multiples */
	__u64 max_bytes; /* of a region */
	__u64 quota; /* bytes that the caller may have in all its instances, 0 for no limit */
	__u64 used; /* of it */
	__u32 max_instances; /* that the caller may have, 0 for no limit */
	__u32 instances;
	__u32 max_channels;
	__u32 pad;
};

/*
 * CREATE: makes an instance and opens it. The name is a file's: not empty, no '/', printable,
 * ended by a zero. EEXIST when a living instance has it; EDQUOT beyond the quota; ERANGE for a
 * base or length that no process can have. bytes 0: an instance without a region, base 0 too.
 */
struct shmheap_create {
	__u32 size;
	__u32 flags; /* SHMHEAP_NOMAP, SHMHEAP_NONBLOCK */
	__u8 name[SHMHEAP_NAME_SIZE];
	__u64 base;
	__u64 bytes;
	__u32 mode; /* permission bits; 0 is 0600 */
	__u32 stream_slot; /* bytes: a power of two from 64 to 4096; 0 for no stream */
	__u32 stream_order; /* 1 << order slots for each processor, 1 to 16 */
	__s32 fd; /* out */
	__u64 id; /* out: of the instance, never used again */
};

/*
 * OPEN: another descriptor of a living instance. ENOENT; EACCES unless mode and owner allow rw.
 */
struct shmheap_open {
	__u32 size;
	__u32 flags; /* SHMHEAP_NOMAP, SHMHEAP_NONBLOCK */
	__u8 name[SHMHEAP_NAME_SIZE];
	__u64 base; /* out */
	__u64 bytes; /* out */
	__u64 id; /* out */
	__s32 fd; /* out */
	__u32 pad;
};

/*
 * Flags of CREATE, OPEN, QUEUE and STREAM; the descriptors are close-on-exec always. NOMAP:
 * nothing can be mapped or read through this descriptor, nor a queue attached: for the untrusted,
 * who have SEND and RECV. It cannot be opened anew through /proc.
 */
#define SHMHEAP_NONBLOCK (1U << 0)
#define SHMHEAP_NOMAP (1U << 1)

/* STAT: of an instance. */
struct shmheap_stat {
	__u32 size;
	__u32 flags; /* out: SHMHEAP_STAT_... */
	__u8 name[SHMHEAP_NAME_SIZE];
	__u64 id;
	__u64 base;
	__u64 bytes;
	__u64 stored; /* bytes that have storage */
	__u64 pinned; /* of them: used by queues and the kernel, cannot be given back */
	__u64 peers; /* open descriptions of the instance */
	__u64 released; /* that there were */
	__u64 refused; /* mmap calls that were refused */
	__u64 faults; /* that gave a granule storage */
	__u64 pad[3];
};

#define SHMHEAP_STAT_UNLINKED (1U << 0)

/*
 * UNLINK takes the name away: nobody can OPEN the instance any more. Its owner alone (EPERM), and
 * once (ENOENT). _IO, no argument.
 */

/*
 * PEERS: waits until released is no longer what it says, or until the deadline (ETIMEDOUT): a peer
 * that died is released by the kernel. Its poll is EPOLLPRI, which the next PEERS takes away.
 */
struct shmheap_peers {
	__u32 size;
	__u32 flags; /* 0 */
	__u64 deadline;
	__u64 released; /* in: what is known; out: what is true */
	__u64 peers; /* out */
};

/*
 * Queues. A channel of an instance has up to four. The kernel moves offsets and never looks at the
 * allocator. Blocks are the program's: it hands empty ones to the kernel through FILL, gets them
 * back full through COMMAND; hands full ones through REPLY, and gets them back through COMPLETION
 * when their content has been copied. Whoever moves bare offsets needs COMMAND and REPLY alone.
 */
enum shmheap_role {
	SHMHEAP_COMMAND = 0, /* the kernel pushes, programs pop */
	SHMHEAP_REPLY = 1, /* programs push, the kernel pops */
	SHMHEAP_FILL = 2, /* programs push, the kernel pops */
	SHMHEAP_COMPLETION = 3, /* the kernel pushes, programs pop */
	SHMHEAP_ROLES = 4,
};

/*
 * QUEUE: attaches the queue at that offset, which package queue has made, to a channel, or gives
 * another descriptor of it. The kernel keeps a copy of the geometry and gives all of the queue
 * storage, which stays as long as a descriptor of the queue is open; then the kernel lets go of
 * it.
 *
 * Any kind of shmheap.h will do but BROADCAST, and without hands (EOPNOTSUPP); no queue EBADMSG;
 * other than the one attached EBUSY; EFAULT for an offset outside the region.
 *
 * The kernel always uses compare-and-swap, so it counts as many producers or consumers without a
 * handle. What is SPSC must have no producer (consumer) besides the kernel.
 *
 * poll: EPOLLIN when there may be something to pop (COMMAND, COMPLETION), EPOLLOUT when there may
 * be room (REPLY, FILL). Edges are told once: what comes after a poll said so is told by the next
 * poll. write of anything wakes the kernel's side (KICK): a Producer whose Notify has the
 * descriptor does so when the kernel sleeps, and not otherwise.
 */
struct shmheap_queue_attach {
	__u32 size;
	__u32 flags; /* SHMHEAP_NONBLOCK */
	__u64 offset;
	__u32 channel;
	__u32 role; /* enum shmheap_role */
	__u32 block; /* bytes of a block: a multiple of 8, at least 32; 0 for bare offsets */
	__s32 fd; /* out */
};

/* A block begins with this. */
struct shmheap_message {
	__u64 id; /* whatever the two sides agree on */
	__u32 type;
	__u32 bytes; /* of payload, behind this */
};

/* WAIT, of a queue: returns when poll would, or ETIMEDOUT, EINTR. */
struct shmheap_queue_wait {
	__u32 size;
	__u32 flags; /* 0 */
	__u64 deadline;
};

/* KICK, of a queue: wakes the kernel's side. _IO, no argument. */

/*
 * EVENTFD, of a queue that programs pop: the kernel signals the eventfd after a push when the
 * queue's Watch word asks for it, and clears the word, as Producer.Notify does. -1 takes it away.
 */
struct shmheap_queue_eventfd {
	__u32 size;
	__u32 flags; /* 0 */
	__s32 fd;
	__u32 pad;
};

/* QSTAT, of a queue: what the kernel did. */
struct shmheap_queue_stat {
	__u32 size;
	__u32 flags; /* out, 0 */
	__u64 pushed;
	__u64 popped;
	__u64 full; /* pushes that were refused */
	__u64 bad; /* elements that were no offsets, or blocks with nonsense in them: dropped */
	__u64 lost; /* times that the slots did not bear out where the kernel was */
	__u64 wakes; /* of the program's side */
	__u64 kicks; /* of the kernel's side */
	__u64 stranded; /* blocks that could not be given back, their queue was full */
	__u64 pad[3];
};

/*
 * COPIES: makes a channel without shared memory, for SEND and RECV. EBUSY when it is one already
 * or has queues.
 */
struct shmheap_copies {
	__u32 size;
	__u32 flags; /* 0 */
	__u32 channel;
	__u32 order; /* 1 << order messages each way, 1 to 12 */
	__u32 block; /* bytes of the longest message and its header: 32 to 65536, a multiple of 8 */
	__u32 pad;
};

/*
 * SEND and RECV move one message of a channel made by COPIES: the very same that the kernel's side
 * gets from REPLY and puts into COMMAND. SEND: EMSGSIZE when it is too long. RECV: capacity says
 * how much there is room for; a longer message stays (EMSGSIZE, with message.bytes set). EBADMSG
 * for what the kernel's side has pushed and is no message: it is gone. Both: EAGAIN, ETIMEDOUT,
 * EINTR, ENOTCONN when there is no such channel. SHMHEAP_NO_WAIT is EAGAIN at once.
 */
struct shmheap_copy {
	__u32 size;
	__u32 flags; /* 0 */
	__u32 channel;
	__u32 capacity; /* RECV: bytes at data */
	__u64 deadline;
	__u64 data; /* address of the payload */
	struct shmheap_message message;
};

/*
 * STREAM: a reader of the instance's lossy stream. ENOTCONN when it has none.
 *
 * read gives whole records, each a struct shmheap_record and its data filled up to a multiple of
 * 8; EINVAL when the buffer is too small for one; EAGAIN. Records of one processor come in order.
 * poll: EPOLLIN. mmap: the whole ring (shmheap_stream.bytes), read-only (EACCES), anywhere, offset
 * 0.
 */
struct shmheap_stream_open {
	__u32 size;
	__u32 flags; /* SHMHEAP_NONBLOCK, SHMHEAP_STREAM_OLDEST */
	__u64 bytes; /* out: to map */
	__s32 fd; /* out */
	__u32 pad;
};

#define SHMHEAP_STREAM_OLDEST (1U << 2) /* begin with the oldest record, and not with the next */

#define SHMHEAP_STREAM_MAGIC 0x4d41525453484d53ULL

/* The beginning of a stream that is mapped. Nothing in it changes. */
struct shmheap_stream {
	__u64 magic;
	__u32 version; /* SHMHEAP_KMOD_VERSION */
	__u32 cpus; /* rings */
	__u32 slot; /* bytes */
	__u32 order; /* 1 << order slots in a ring */
	__u64 rings; /* from the beginning of the stream: the first ring */
	__u64 stride; /* from ring to ring */
	__u64 slots; /* from the beginning of a ring: its slots */
	__u64 bytes; /* of all */
};

/* A ring begins with this. Written by one processor, in whatever context it is. */
struct shmheap_stream_ring {
	__u64 head; /* records that were begun: the next one's number, from 0 */
	__u64 dropped; /* records without a slot: the one they interrupted still had it */
};

/*
 * A record in its slot, number n of its ring in slot n % slots. seq is n + 1 when it is complete,
 * and 0 while it is written. Load seq with acquire, copy, a load barrier, load seq again: the same
 * and n + 1, or the record was overwritten. The reader has lost what it has not read of head, and
 * dropped.
 */
struct shmheap_record {
	__u64 seq;
	__u64 time; /* CLOCK_MONOTONIC */
	__u16 bytes; /* of data */
	__u16 type; /* the writer's; SHMHEAP_RECORD_LOST from read */
	__u32 cpu;
	__u8 data[];
};

/* read says so where records of that processor are missing: data is a __u64, how many. */
#define SHMHEAP_RECORD_LOST 0xffff

/*
 * SEEN, of a stream: where a program that maps it is in each ring, with which read and poll go on
 * from there. head is the number of the first record that it has not had, dropped how many of the
 * refused it knows of. EINVAL for what is ahead of the writers. A program that has found nothing
 * more calls SEEN and then polls: that is told of all that comes behind, and of what was being
 * written.
 */
struct shmheap_stream_seen {
	__u32 size;
	__u32 flags; /* 0 */
	__u64 rings; /* address of a struct shmheap_stream_ring for each ring */
	__u32 cpus; /* how many: shmheap_stream.cpus */
	__u32 pad;
};

/*
 * Control words: SHMHEAP_CONTROL_WORDS of 64 bits at the beginning of the control page, which is a
 * page of the system's size. Programs store with release order, the kernel loads with acquire.
 *
 * Words that must change together have a sequence word: a program that changes them stores it odd,
 * stores the words, each with release order, and stores it even again, two more than before.
 * Programs that do so at once need a lock.
 */
#define SHMHEAP_CONTROL_WORDS 512

#define SHMHEAP_IOC_MAGIC 0xB7
#define SHMHEAP_IOC_INFO _IOWR(SHMHEAP_IOC_MAGIC, 0x00, struct shmheap_info)
#define SHMHEAP_IOC_CREATE _IOWR(SHMHEAP_IOC_MAGIC, 0x01, struct shmheap_create)
#define SHMHEAP_IOC_OPEN _IOWR(SHMHEAP_IOC_MAGIC, 0x02, struct shmheap_open)
/* of an instance; INFO too */
#define SHMHEAP_IOC_STAT _IOWR(SHMHEAP_IOC_MAGIC, 0x10, struct shmheap_stat)
#define SHMHEAP_IOC_UNLINK _IO(SHMHEAP_IOC_MAGIC, 0x11)
#define SHMHEAP_IOC_PEERS _IOWR(SHMHEAP_IOC_MAGIC, 0x12, struct shmheap_peers)
#define SHMHEAP_IOC_QUEUE _IOWR(SHMHEAP_IOC_MAGIC, 0x13, struct shmheap_queue_attach)
#define SHMHEAP_IOC_STREAM _IOWR(SHMHEAP_IOC_MAGIC, 0x14, struct shmheap_stream_open)
#define SHMHEAP_IOC_COPIES _IOWR(SHMHEAP_IOC_MAGIC, 0x15, struct shmheap_copies)
#define SHMHEAP_IOC_SEND _IOWR(SHMHEAP_IOC_MAGIC, 0x16, struct shmheap_copy)
#define SHMHEAP_IOC_RECV _IOWR(SHMHEAP_IOC_MAGIC, 0x17, struct shmheap_copy)
/* of a queue */
#define SHMHEAP_IOC_WAIT _IOWR(SHMHEAP_IOC_MAGIC, 0x20, struct shmheap_queue_wait)
#define SHMHEAP_IOC_KICK _IO(SHMHEAP_IOC_MAGIC, 0x21)
#define SHMHEAP_IOC_EVENTFD _IOWR(SHMHEAP_IOC_MAGIC, 0x22, struct shmheap_queue_eventfd)
#define SHMHEAP_IOC_QSTAT _IOWR(SHMHEAP_IOC_MAGIC, 0x23, struct shmheap_queue_stat)
/* of a stream */
#define SHMHEAP_IOC_SEEN _IOWR(SHMHEAP_IOC_MAGIC, 0x30, struct shmheap_stream_seen)

SHMHEAP_ASSERT(sizeof(struct shmheap_info) == 64);
SHMHEAP_ASSERT(sizeof(struct shmheap_create) == 112);
SHMHEAP_ASSERT(offsetof(struct shmheap_create, base) == 72);
SHMHEAP_ASSERT(sizeof(struct shmheap_open) == 104);
SHMHEAP_ASSERT(offsetof(struct shmheap_open, base) == 72);
SHMHEAP_ASSERT(sizeof(struct shmheap_stat) == 168);
SHMHEAP_ASSERT(sizeof(struct shmheap_peers) == 32);
SHMHEAP_ASSERT(sizeof(struct shmheap_queue_attach) == 32);
SHMHEAP_ASSERT(sizeof(struct shmheap_message) == 16);
SHMHEAP_ASSERT(sizeof(struct shmheap_queue_wait) == 16);
SHMHEAP_ASSERT(sizeof(struct shmheap_queue_eventfd) == 16);
SHMHEAP_ASSERT(sizeof(struct shmheap_queue_stat) == 96);
SHMHEAP_ASSERT(sizeof(struct shmheap_copies) == 24);
SHMHEAP_ASSERT(sizeof(struct shmheap_copy) == 48);
SHMHEAP_ASSERT(sizeof(struct shmheap_stream_open) == 24);
SHMHEAP_ASSERT(sizeof(struct shmheap_stream_seen) == 24);
SHMHEAP_ASSERT(sizeof(struct shmheap_stream) == 56);
SHMHEAP_ASSERT(sizeof(struct shmheap_stream_ring) == 16);
SHMHEAP_ASSERT(sizeof(struct shmheap_record) == 24);

#endif
