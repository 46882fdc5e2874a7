// SPDX-License-Identifier: GPL-2.0
/*
 * A module with bugs, one for each detector of a kernel that watches itself. Inserting it makes the bug that
 * its parameter names happen, in a way that the kernel survives. A run in which nothing was found counts only
 * if what is planted here is found in the same run.
 */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

static char *bug = "";
module_param(bug, charp, 0444);
MODULE_PARM_DESC(bug, "which one: warn, lock, sleep, shift, leak, bounds, freed or race");

static void plant_warn(void)
{
	WARN(1, "planted\n");
}

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);

/* Lockdep knows from the order alone; there is nobody to dead-lock with. */
static void plant_lock(void)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);
	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
}

static DEFINE_SPINLOCK(held);

static void plant_sleep(void)
{
	spin_lock(&held);
	might_sleep();
	spin_unlock(&held);
}

static void plant_shift(void)
{
	int one = 1, bits = 77;

	OPTIMIZER_HIDE_VAR(one);
	OPTIMIZER_HIDE_VAR(bits);
	one <<= bits;
	OPTIMIZER_HIDE_VAR(one);
}

/* More than one, as an old value of a register may look like a reference. */
static void plant_leak(void)
{
	int i;

	for (i = 0; i < 10; i++) {
		void *lost = kmalloc(512, GFP_KERNEL);

		OPTIMIZER_HIDE_VAR(lost);
	}
}

static void plant_bounds(void)
{
	char *object = kmalloc(64, GFP_KERNEL);
	int last = 64;

	if (!object)
		return;
	OPTIMIZER_HIDE_VAR(last);
	WRITE_ONCE(object[last], 1);
	kfree(object);
}

static void plant_freed(void)
{
	char *object = kmalloc(64, GFP_KERNEL), *gone = object;

	if (!object)
		return;
	OPTIMIZER_HIDE_VAR(gone);
	kfree(object);
	(void)READ_ONCE(gone[8]);
}

static unsigned long counter;

static int racer(void *unused)
{
	while (!kthread_should_stop()) {
		int i;

		for (i = 0; i < 1000; i++) {
			counter++;
			barrier();
		}
		cond_resched();
	}
	return 0;
}

static void plant_race(void)
{
	struct task_struct *racers[2];
	int i;

	for (i = 0; i < 2; i++)
		racers[i] = kthread_run(racer, NULL, "planted/%d", i);
	msleep(3000);
	for (i = 0; i < 2; i++) {
		if (!IS_ERR(racers[i]))
			kthread_stop(racers[i]);
	}
}

static const struct {
	const char *name;
	void (*plant)(void);
} bugs[] = {
	{ "warn", plant_warn },
	{ "lock", plant_lock },
	{ "sleep", plant_sleep },
	{ "shift", plant_shift },
	{ "leak", plant_leak },
	{ "bounds", plant_bounds },
	{ "freed", plant_freed },
	{ "race", plant_race },
};

static int __init planted_init(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bugs); i++) {
		if (!strcmp(bug, bugs[i].name)) {
			bugs[i].plant();
			return 0;
		}
	}
	return -EINVAL;
}
module_init(planted_init);

static void __exit planted_exit(void)
{
}
module_exit(planted_exit);

MODULE_DESCRIPTION("Bugs for the detectors of a kernel to find");
MODULE_LICENSE("GPL");
