// SPDX-License-Identifier: GPL-2.0
//go:build ignore

/*
 * Tests of what needs no program: with selftest=1 they run when the module is loaded, which fails
 * when one of them does; a kernel with KUnit has them as a suite too (kunit.c).
 */
#include <linux/bits.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include "inode.h"
#include "instance.h"
#include "port.h"
#include "quota.h"
#include "selftest.h"
#include "stream.h"

static bool selftest;
module_param(selftest, bool, 0444);
MODULE_PARM_DESC(selftest, "run the self-test when the module is loaded (default off)");

#define expect(x) do { if (!(x)) return #x; } while (0)

/* A queue of 1 << ORDER slots in memory of its own. */
#define ORDER 4
#define SLOTS BIT(ORDER)
#define REGION BIT(20)

struct bench {
	u8 memory[2048] __aligned(128);
	void *chunk;
	struct shmheap_ring ring;
};

static struct bench *new_bench(void)
{
	struct bench *b = kzalloc(sizeof(*b), GFP_KERNEL);

	if (!b)
		return NULL;
	b->chunk = b->memory;
	b->ring = (struct shmheap_ring) {
		.chunks = &b->chunk,
		.slots = shmheap_slots_at(2),
		.order = ORDER,
		.bytes = REGION,
	};
	shmheap_ring_seek(&b->ring);
	b->ring.lost = 0;
	return b;
}

static const char *ring_order(struct bench *b)
{
	u64 i, lap, off;

	for (lap = 0; lap < 3; lap++) {
		for (i = 0; i < SLOTS; i++)
			expect(!shmheap_ring_push(&b->ring, 8 * (i + 1)));
		expect(shmheap_ring_push(&b->ring, 8) == -ENOSPC);
		expect(!shmheap_ring_writable(&b->ring));
		for (i = 0; i < SLOTS; i++)
			expect(!shmheap_ring_pop(&b->ring, &off) && off == 8 * (i + 1));
		expect(shmheap_ring_pop(&b->ring, &off) == -ENODATA);
		expect(!shmheap_ring_readable(&b->ring));
	}
	expect(b->ring.lost == 0);
	return NULL;
}

/* ring_laps() goes round often enough for the laps to begin again. */
static const char *ring_laps(struct bench *b)
{
	u64 i, off;

	for (i = 0; i < (SHMHEAP_SLOT_LAP_MASK + 3) << ORDER; i++) {
		expect(!shmheap_ring_push(&b->ring, 8 * (i % 999 + 1)));
		expect(!shmheap_ring_pop(&b->ring, &off) && off == 8 * (i % 999 + 1));
	}
	expect(b->ring.lost == 0);
	return NULL;
}

/*
 * ring_nonsense() finds elements that are no offsets, a closed queue, and cursors that must be
 * found anew.
 */
static const char *ring_nonsense(struct bench *b)
{
	u64 off;

	expect(!shmheap_ring_push(&b->ring, REGION));
	expect(shmheap_ring_pop(&b->ring, &off) == -EBADMSG);
	b->ring.tail = 7 << ORDER;
	b->ring.head = 9 << ORDER;
	expect(!shmheap_ring_push(&b->ring, 24));
	expect(!shmheap_ring_pop(&b->ring, &off) && off == 24);
	expect(b->ring.lost > 0);
	*shmheap_ring_word(&b->ring, state) |= SHMHEAP_QUEUE_CLOSED;
	expect(shmheap_ring_push(&b->ring, 8) == -EPIPE);
	expect(shmheap_ring_pop(&b->ring, &off) == -EPIPE);
	memset(b->memory, 0xa5, sizeof(b->memory));
	shmheap_ring_push(&b->ring, 8);
	shmheap_ring_pop(&b->ring, &off); /* whatever comes: it ends */
	return NULL;
}

static const char *with_bench(const char *(*test)(struct bench *))
{
	struct bench *b = new_bench();
	const char *bad = "no memory";

	if (b)
		bad = test(b);
	kfree(b);
	return bad;
}

static const char *test_order(void)
{
	return with_bench(ring_order);
}

static const char *test_laps(void)
{
	return with_bench(ring_laps);
}

static const char *test_nonsense(void)
{
	return with_bench(ring_nonsense);
}

static const char *test_checks(void)
{
	struct shmheap_message m = { .bytes = 16 };
	u8 name[SHMHEAP_NAME_SIZE] = "orders";

	expect(shmheap_inside(100, 100, 0) && !shmheap_inside(100, 101, 0));
	expect(!shmheap_inside(100, 8, U64_MAX) && !shmheap_inside(100, U64_MAX, 8));
	expect(!shmheap_element_ok(100, 0, 8) && !shmheap_element_ok(100, 12, 8));
	expect(shmheap_element_ok(100, 88, 0) && !shmheap_element_ok(100, 88, 64));
	expect(shmheap_message_ok(&m, 32));
	m.bytes = 17;
	expect(!shmheap_message_ok(&m, 32));
	m.bytes = U32_MAX;
	expect(!shmheap_message_ok(&m, 32));
	expect(shmheap_name_ok(name));
	name[10] = 'x';
	expect(!shmheap_name_ok(name));
	expect(!shmheap_region_ok(1 << 20, SHMHEAP_GRANULE, 1 << 20));
	expect(!shmheap_region_ok(U64_MAX - SHMHEAP_GRANULE + 1, SHMHEAP_GRANULE, TASK_SIZE));
	expect(shmheap_region_ok(0x550000000000, 1ULL << 30, 0x7ffffffff000));
	return NULL;
}

/* An instance of the kernel's own. */
static struct shmheap_instance *new_instance(void)
{
	struct shmheap_create a = {
		.name = "selftest.shmheap", .base = 0x550000000000, .bytes = 16 * SHMHEAP_GRANULE,
		.stream_slot = 64, .stream_order = 3,
	};

	return shmheap_instance_create(&a);
}

static const char *instance_store(struct shmheap_instance *inst)
{
	u64 off, word = 42, *pinned;

	expect(shmheap_copy_from(inst, 0, &word, 8) == -EFAULT); /* no storage */
	expect(!shmheap_store_allocate(&inst->store, SHMHEAP_GRANULE - 1, 2));
	expect(atomic64_read(&inst->store.stored) == 2);
	expect(!shmheap_copy_to(inst, SHMHEAP_GRANULE - 3, &word, 8));
	word = 0;
	expect(!shmheap_copy_from(inst, SHMHEAP_GRANULE - 3, &word, 8) && word == 42);
	expect(shmheap_copy_to(inst, 16 * SHMHEAP_GRANULE - 4, &word, 8) == -EFAULT);
	expect(IS_ERR(shmheap_pin(inst, SHMHEAP_GRANULE - 4, 8)));
	pinned = shmheap_pin(inst, SHMHEAP_GRANULE, 8);
	expect(!IS_ERR(pinned));
	expect(shmheap_store_punch(&inst->store, 0, 2 * SHMHEAP_GRANULE) == -EBUSY);
	expect(atomic64_read(&inst->store.stored) == 1);
	shmheap_unpin(inst, SHMHEAP_GRANULE);
	expect(!shmheap_store_punch(&inst->store, 0, 16 * SHMHEAP_GRANULE));
	expect(atomic64_read(&inst->store.stored) == 0);
	expect(!shmheap_offset_of(inst, inst->base + 64, 8, &off) && off == 64);
	expect(shmheap_offset_of(inst, inst->base - 1, 1, &off) == -EFAULT);
	return NULL;
}

static const char *instance_control(struct shmheap_instance *inst)
{
	u64 out[2];

	shmheap_ctl_write(inst, 511, 7);
	expect(shmheap_ctl_read(inst, 511) == 7 && shmheap_ctl_read(inst, 512) == 0);
	inst->words[1] = 5;
	inst->words[2] = 6;
	expect(!shmheap_ctl_read_group(inst, 0, 1, 2, out) && out[0] == 5 && out[1] == 6);
	inst->words[0] = 1;
	expect(shmheap_ctl_read_group(inst, 0, 1, 2, out) == -EAGAIN);
	expect(shmheap_ctl_read_group(inst, 0, 511, 2, out) == -EINVAL);
	expect(shmheap_ctl_read_group(inst, 0, 1, U32_MAX, out) == -EINVAL);
	return NULL;
}

/* Writers of the stream in the contexts that can be had at will. */
static void write_in_irq(void *inst)
{
	u64 i;

	for (i = 0; i < 100; i++)
		shmheap_stream_write(inst, 1, &i, sizeof(i));
}

static u64 written(struct shmheap_instance *inst)
{
	struct shmheap_stream_ring *ring;
	u64 n = 0;
	u32 cpu;

	for (cpu = 0; cpu < nr_cpu_ids; cpu++) {
		ring = shmheap_stream_ring(inst->stream, cpu);
		n += READ_ONCE(ring->head) + READ_ONCE(ring->dropped);
	}
	return n;
}

static const char *instance_stream(struct shmheap_instance *inst)
{
	struct shmheap_record *r;
	u64 i;

	expect(shmheap_stream_room(inst) == 40);
	expect(shmheap_stream_write(inst, 1, &i, 41) == -EMSGSIZE);
	on_each_cpu(write_in_irq, inst, 1);
	expect(written(inst) == 100 * num_online_cpus());
	migrate_disable();
	r = shmheap_stream_slot(inst->stream, smp_processor_id(), 99);
	i = READ_ONCE(r->seq);
	migrate_enable();
	expect(i == 100);
	return NULL;
}

/* instance_nesting() pretends to have interrupted a writer that has its slot still open. */
static const char *instance_nesting(struct shmheap_instance *inst)
{
	struct shmheap_stream_cpu *c;
	struct shmheap_stream_ring *ring;
	int i, refused = 0;

	preempt_disable();
	c = this_cpu_ptr(inst->stream->cpus);
	ring = shmheap_stream_ring(inst->stream, smp_processor_id());
	c->open = ring->head++;
	c->depth++;
	for (i = 0; i < 20; i++)
		refused += shmheap_stream_write(inst, 1, &i, sizeof(i)) == -ENOSPC;
	c->depth--;
	preempt_enable();
	expect(refused == 20 - 7 && ring->dropped == 20 - 7);
	return NULL;
}

static const char *with_instance(const char *(*test)(struct shmheap_instance *))
{
	struct shmheap_instance *inst = new_instance();
	const char *bad;

	if (IS_ERR(inst))
		return "no instance";
	bad = test(inst);
	shmheap_put(inst);
	return bad;
}

static const char *test_store(void)
{
	return with_instance(instance_store);
}

static const char *test_control(void)
{
	return with_instance(instance_control);
}

static const char *test_stream(void)
{
	return with_instance(instance_stream);
}

static const char *test_nesting(void)
{
	return with_instance(instance_nesting);
}

const struct shmheap_case shmheap_cases[] = {
	{ "order", test_order },
	{ "laps", test_laps },
	{ "nonsense", test_nonsense },
	{ "checks", test_checks },
	{ "store", test_store },
	{ "control", test_control },
	{ "stream", test_stream },
	{ "nesting", test_nesting },
	{}
};
EXPORT_SYMBOL_GPL(shmheap_cases);

/* shmheap_selftest() runs the cases if the module was loaded with selftest=1. */
int shmheap_selftest(void)
{
	const struct shmheap_case *c;
	const char *bad;
	int failed = 0;

	for (c = shmheap_cases; selftest && c->name; c++) {
		bad = c->run();
		failed += !!bad;
		if (bad)
			pr_err("shmheap: selftest %s: failed: %s\n", c->name, bad);
		else
			pr_info("shmheap: selftest %s: ok\n", c->name);
	}
	if (selftest)
		pr_info("shmheap: selftest: %d failed\n", failed);
	return failed ? -EINVAL : 0;
}
