// SPDX-License-Identifier: GPL-2.0
//go:build ignore

/*
 * Control words: a page of the system's size, of which the first 4096 bytes are used.
 */
#include <linux/export.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include "control.h"
#include "instance.h"

/* A program that is in the middle of a change is waited for this often, and no longer. */
#define TRIES 4

static_assert(SHMHEAP_CONTROL_WORDS * 8 <= PAGE_SIZE);

int shmheap_control_init(struct shmheap_instance *inst)
{
	inst->control = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!inst->control)
		return -ENOMEM;
	inst->words = page_address(inst->control);
	return 0;
}

void shmheap_control_free(struct shmheap_instance *inst)
{
	if (inst->control)
		put_page(inst->control);
	inst->control = NULL;
}

static u64 *word(const struct shmheap_instance *inst, unsigned int i)
{
	if (i >= SHMHEAP_CONTROL_WORDS)
		return NULL;
	return &inst->words[array_index_nospec(i, SHMHEAP_CONTROL_WORDS)];
}

u64 shmheap_ctl_read(const struct shmheap_instance *inst, unsigned int i)
{
	u64 *w = word(inst, i);

	return w ? smp_load_acquire(w) : 0; /* pairs with the program's store with release */
}
EXPORT_SYMBOL_GPL(shmheap_ctl_read);

void shmheap_ctl_write(struct shmheap_instance *inst, unsigned int i, u64 value)
{
	u64 *w = word(inst, i);

	if (w)
		smp_store_release(w, value); /* pairs with the program's load with acquire */
}
EXPORT_SYMBOL_GPL(shmheap_ctl_write);

/* try_group() is one attempt. */
static bool try_group(const u64 *seq, const u64 *from, unsigned int n, u64 *out)
{
	unsigned int i;
	u64 before;

	/* pairs with the program's last store, of the even number */
	before = smp_load_acquire(seq);
	if (before & 1)
		return false;
	for (i = 0; i < n; i++)
		out[i] = READ_ONCE(from[i]);
	/*
	 * pairs with the release stores of the words behind the odd number: who has seen one of
	 * them sees the odd number, or a later one, in the second look
	 */
	smp_rmb();
	return READ_ONCE(*seq) == before;
}

int shmheap_ctl_read_group(const struct shmheap_instance *inst, unsigned int seq,
			   unsigned int first, unsigned int n, u64 *out)
{
	int i;

	if (seq >= SHMHEAP_CONTROL_WORDS || first >= SHMHEAP_CONTROL_WORDS ||
	    n > SHMHEAP_CONTROL_WORDS - first)
		return -EINVAL;
	seq = array_index_nospec(seq, SHMHEAP_CONTROL_WORDS);
	first = array_index_nospec(first, SHMHEAP_CONTROL_WORDS);
	for (i = 0; i < TRIES; i++) {
		if (try_group(&inst->words[seq], &inst->words[first], n, out))
			return 0;
		cpu_relax();
	}
	return -EAGAIN;
}
EXPORT_SYMBOL_GPL(shmheap_ctl_read_group);
