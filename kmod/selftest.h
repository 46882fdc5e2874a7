/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHMHEAP_SELFTEST_H
#define _SHMHEAP_SELFTEST_H

/**
 * struct shmheap_case - a test of what needs no program
 * @name: of it
 * @run: returns NULL, or what is wrong
 */
struct shmheap_case {
	const char *name;
	const char *(*run)(void);
};

extern const struct shmheap_case shmheap_cases[]; /* ended by an empty one */

int shmheap_selftest(void);

#endif
