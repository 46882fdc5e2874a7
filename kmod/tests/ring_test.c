// SPDX-License-Identifier: GPL-2.0
/*
 * Fuzzes and races the protocol of ring.h and the judgements of check.h in user space.
 *
 *	ring_test [ROUNDS [SEED]]
 *
 * The memory of the queue is exactly as long as it says, so that a wild access is one that the
 * sanitizer sees.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ring.h"

#define CHECK(x)                                                                  \
	do {                                                                      \
		if (!(x)) {                                                       \
			fprintf(stderr, "%s:%d: %s; seed %llu\n", __func__,       \
				__LINE__, #x, (unsigned long long)seed);          \
			exit(1);                                                  \
		}                                                                 \
	} while (0)

#define REGION (1ULL << 30)

static u64 seed, state;

/* xorshift64* */
static u64 rnd(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1dULL;
}

/* A queue across granules, each in memory of its own, none longer than it must be. */
struct box {
	struct shmheap_ring ring;
	void *chunks[4];
	u64 at, bytes;
};

static void make(struct box *b, u32 order, u64 at)
{
	u64 left, i, n = shmheap_slots_at(2) + (8ULL << order);

	memset(b, 0, sizeof(*b));
	b->bytes = n;
	b->at = at;
	left = at + n;
	for (i = 0; left; i++) {
		u64 part = left < SHMHEAP_GRANULE ? left : SHMHEAP_GRANULE;

		CHECK(i < 4);
		b->chunks[i] = aligned_alloc(128, (part + 127) / 128 * 128);
		memset(b->chunks[i], 0, part);
		left -= part;
	}
	b->ring = (struct shmheap_ring){
		.chunks = b->chunks, .at = at, .slots = at + shmheap_slots_at(2),
		.order = order, .bytes = REGION,
	};
	shmheap_ring_seek(&b->ring);
	b->ring.lost = 0;
}

static void drop(struct box *b)
{
	for (int i = 0; i < 4; i++)
		free(b->chunks[i]);
}

/* What a hostile program can do: store anything anywhere in the queue. */
static void scribble(struct box *b)
{
	static const u64 nasty[] = { 0, ~0ULL, SHMHEAP_SLOT_FULL, SHMHEAP_SLOT_VALUE_MASK,
				     SHMHEAP_SLOT_FULL | SHMHEAP_SLOT_VALUE_MASK };
	u64 i = rnd() % (b->bytes / 8) * 8;
	u64 v = rnd() % 2 ? rnd() : nasty[rnd() % 5];

	if (rnd() % 4 == 0) /* a word that is nearly right */
		v = *shmheap_ring_at(&b->ring, b->at + i) ^ 1ULL << rnd() % 64;
	*shmheap_ring_at(&b->ring, b->at + i) = v;
}

/* model compares an honest queue with a counter of pushes and pops. */
static void model(u64 rounds)
{
	struct box b;
	u64 pushed = 0, popped = 0, off;
	u32 order = 1 + rnd() % 8;

	make(&b, order, rnd() % 512 * 128);
	while (rounds--) {
		if (rnd() % 2) {
			int err = shmheap_ring_push(&b.ring, pushed % 9999 * 8 + 8);

			CHECK(err == (pushed - popped == 1ULL << order ? -ENOSPC : 0));
			pushed += !err;
		} else {
			int err = shmheap_ring_pop(&b.ring, &off);

			CHECK(err == (pushed == popped ? -ENODATA : 0));
			CHECK(err || off == popped % 9999 * 8 + 8);
			popped += !err;
		}
		CHECK(shmheap_ring_readable(&b.ring) == (pushed != popped));
		CHECK(shmheap_ring_writable(&b.ring) == (pushed - popped < 1ULL << order));
		if (rnd() % 1000 == 0) /* as after a new attachment */
			shmheap_ring_seek(&b.ring);
	}
	CHECK(shmheap_ring_look(&b.ring) == (pushed == popped ? -ENODATA : 0));
	drop(&b);
}

/*
 * hostile scribbles between all operations: whatever comes, it ends, and what is popped is an
 * offset.
 */
static void hostile(u64 rounds)
{
	struct box b;
	u64 off;
	int err;

	make(&b, 1 + rnd() % 13, rnd() % 512 * 128);
	b.ring.block = rnd() % 2 * 4096;
	while (rounds--) {
		scribble(&b);
		err = shmheap_ring_push(&b.ring, 8 + rnd() % 1000 * 8);
		CHECK(!err || err == -ENOSPC || err == -EAGAIN || err == -EPIPE);
		err = shmheap_ring_pop(&b.ring, &off);
		CHECK(!err || err == -ENODATA || err == -EAGAIN || err == -EPIPE || err == -EBADMSG);
		CHECK(err || shmheap_element_ok(REGION, off, b.ring.block));
		shmheap_ring_readable(&b.ring);
		shmheap_ring_writable(&b.ring);
		shmheap_ring_listen(&b.ring);
		shmheap_ring_heard(&b.ring);
		if (rnd() % 100 == 0)
			shmheap_ring_seek(&b.ring);
	}
	drop(&b);
}

/*
 * recovers: a queue that is made anew and attached anew after the scribbling is as good as any.
 */
static void recovers(void)
{
	struct box b;
	u64 off, i;

	make(&b, 3, 0);
	for (i = 0; i < 100; i++) {
		scribble(&b);
		shmheap_ring_push(&b.ring, 8);
		shmheap_ring_pop(&b.ring, &off);
	}
	memset(b.chunks[0], 0, b.bytes);
	shmheap_ring_seek(&b.ring);
	for (i = 0; i < 8; i++)
		CHECK(!shmheap_ring_push(&b.ring, 8 * i + 8));
	for (i = 0; i < 8; i++)
		CHECK(!shmheap_ring_pop(&b.ring, &off) && off == 8 * i + 8);
	drop(&b);
}

static void headers(u64 rounds)
{
	struct shmheap_geometry g;
	struct shmheap_first_line h;
	u64 good = 0;

	while (rounds--) {
		u64 off = rnd() % (REGION / 128) * 128, i;

		h = (struct shmheap_first_line){
			.magic = SHMHEAP_QUEUE_MAGIC, .version = 1, .kind = 1 + rnd() % 3,
			.order = 1 + rnd() % 24, .handles = 2 + rnd() % 1023,
			.table = sizeof(struct shmheap_queue), .record = 8,
		};
		h.slots = shmheap_slots_at(h.handles);
		h.size = h.slots + (8ULL << h.order);
		for (i = rnd() % 3; i; i--)
			((u64 *)&h)[rnd() % 8] ^= 1ULL << rnd() % 64;
		if (shmheap_check_queue(&h, REGION, off, &g))
			continue;
		good++;
		CHECK(g.order >= 1 && g.order <= 24 && g.slots >= 1024 && g.slots % 128 == 0);
		CHECK(g.bytes == g.slots + (8ULL << g.order) && off + g.bytes <= REGION);
	}
	CHECK(good > 0);
}

static void numbers(u64 rounds)
{
	while (rounds--) {
		u64 bytes = rnd() >> rnd() % 64, off = rnd() >> rnd() % 64, len = rnd() >> rnd() % 64;
		unsigned __int128 end = (unsigned __int128)off + len;

		CHECK(shmheap_inside(bytes, off, len) == (end <= bytes));
		if (shmheap_region_ok(off, bytes, 1ULL << 47) && bytes)
			CHECK(off + bytes <= 1ULL << 47 && off % SHMHEAP_GRANULE == 0);
	}
}

/*
 * Threads: two producers, two consumers, and each element exactly once, in the order of its
 * producer.
 */
#define THREADS 2
#define BURST 50000

static struct box shared;
static u64 next_of[THREADS][THREADS]; /* of a consumer, by producer */
static u64 popped_all;
static u8 once[THREADS][BURST];

static void *produce(void *arg)
{
	u64 id = (uintptr_t)arg, i;

	for (i = 0; i < BURST;) {
		int err = shmheap_ring_push(&shared.ring, (i * THREADS + id) * 8 + 8);

		CHECK(!err || err == -ENOSPC || err == -EAGAIN);
		i += !err;
	}
	return NULL;
}

static void *consume(void *arg)
{
	u64 *next = next_of[(uintptr_t)arg], off, i, id;

	while (READ_ONCE(popped_all) < THREADS * BURST) {
		int err = shmheap_ring_pop(&shared.ring, &off);

		CHECK(!err || err == -ENODATA || err == -EAGAIN);
		if (err)
			continue;
		id = (off / 8 - 1) % THREADS;
		i = (off / 8 - 1) / THREADS;
		CHECK(i >= next[id]);
		next[id] = i + 1;
		CHECK(!__atomic_fetch_add(&once[id][i], 1, __ATOMIC_RELAXED));
		__atomic_fetch_add(&popped_all, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void threads(void)
{
	pthread_t t[2 * THREADS];
	u64 i;

	make(&shared, 5, 0);
	for (i = 0; i < THREADS; i++) {
		CHECK(!pthread_create(&t[2 * i], NULL, produce, (void *)(uintptr_t)i));
		CHECK(!pthread_create(&t[2 * i + 1], NULL, consume, (void *)(uintptr_t)i));
	}
	for (i = 0; i < 2 * THREADS; i++)
		pthread_join(t[i], NULL);
	CHECK(popped_all == THREADS * BURST);
	drop(&shared);
}

int main(int argc, char **argv)
{
	u64 rounds = argc > 1 ? strtoull(argv[1], NULL, 0) : 200000;
	int i;

	seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (u64)time(NULL);
	state = seed * 2 + 1;
	printf("seed %llu: ring_test %llu %llu replays\n", (unsigned long long)seed,
	       (unsigned long long)rounds, (unsigned long long)seed);
	for (i = 0; i < 20; i++) {
		model(rounds / 20);
		hostile(rounds / 20);
		recovers();
	}
	headers(rounds);
	numbers(rounds);
	threads();
	printf("ok\n");
	return 0;
}
