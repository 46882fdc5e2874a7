// SPDX-License-Identifier: GPL-2.0
//go:build ignore

/*
 * The self-test of shmheap.ko as a suite of KUnit, for kernels that have it: shmheap_kunit.ko.
 */
#include <kunit/test.h>
#include <linux/module.h>
#include "selftest.h"

static void run_all(struct kunit *test)
{
	const struct shmheap_case *c;
	const char *bad;

	for (c = shmheap_cases; c->name; c++) {
		bad = c->run();
		KUNIT_EXPECT_TRUE_MSG(test, !bad, "%s: %s", c->name, bad ? bad : "");
	}
}

static struct kunit_case cases[] = {
	KUNIT_CASE(run_all),
	{}
};

static struct kunit_suite suite = {
	.name = "shmheap",
	.test_cases = cases,
};

kunit_test_suite(suite);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("KUnit suite of shmheap");
