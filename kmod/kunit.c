// SPDX-License-Identifier: GPL-2.0
/*
 * The self-test of shmheap.ko as a suite of KUnit, for kernels that have it: shmheap_kunit.ko.
 */
#include <kunit/test.h>
#include <linux/module.h>
#include <linux/string.h>
#include "selftest.h"

static const void *next_case(const void *prev, char *desc)
{
	const struct shmheap_case *c = prev ? (const struct shmheap_case *)prev + 1 : shmheap_cases;

	if (!c->name)
		return NULL;
	strscpy(desc, c->name, KUNIT_PARAM_DESC_SIZE);
	return c;
}

static void run_case(struct kunit *test)
{
	const struct shmheap_case *c = test->param_value;
	const char *bad = c->run();

	KUNIT_EXPECT_PTR_EQ_MSG(test, bad, (const char *)NULL, "%s", bad ? bad : "");
}

static struct kunit_case cases[] = {
	KUNIT_CASE_PARAM(run_case, next_case),
	{}
};

static struct kunit_suite suite = {
	.name = "shmheap",
	.test_cases = cases,
};

kunit_test_suite(suite);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("KUnit suite of shmheap");
