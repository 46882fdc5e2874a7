/*
 * The kernel's side of a lock (kmod/include/shmheap_mutex.h) in a process: it adds to a pair of numbers under the
 * lock, until a word says stop.
 *
 *	kernel FILE MUTEX PAIR STOP	offsets in the file of a heap
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shmheap_mutex.h"

int main(int argc, char **argv)
{
	const struct timespec pause = { .tv_nsec = 20000 };
	volatile u64 *pair, *stop;
	struct shmheap_mutex *m;
	unsigned long done = 0, vain = 0, dead = 0;
	struct stat st;
	char *base;
	int fd, err;

	if (argc != 5)
		return 2;
	fd = open(argv[1], O_RDWR);
	if (fd < 0 || fstat(fd, &st))
		return 3;
	base = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		return 4;
	m = (void *)(base + strtoul(argv[2], NULL, 10));
	pair = (void *)(base + strtoul(argv[3], NULL, 10));
	stop = (void *)(base + strtoul(argv[4], NULL, 10));
	while (!*stop) {
		err = shmheap_mutex_trylock(m);
		if (err == -EBUSY) {
			vain++;
			nanosleep(&pause, NULL);
			continue;
		}
		if (err == -EOWNERDEAD) {
			dead++;
			pair[1] = pair[0];
			shmheap_mutex_consistent(m);
		} else if (err) {
			return 5;
		}
		if (pair[0] != pair[1])
			return 6;
		pair[0]++;
		pair[1]++;
		if (shmheap_mutex_unlock(m))
			return 7;
		if (++done % 16 == 0)
			nanosleep(&pause, NULL);
	}
	printf("%lu turns, %lu in vain, %lu after a death\n", done, vain, dead);
	return done ? 0 : 8;
}
