/*
 * Maps a heap at its recorded base without any library, finds a list by the
 * name of its root, and forks. Child and parent, which share the mapping, walk
 * raw pointers that a Go program has stored, change what they lead to, and
 * append nodes.
 *
 * usage: fork HEAP-FILE ROOT. The offsets of the format come with -D from
 * fork_unsafe_linux_test.go.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

/* The types of the Go program. */
struct node {
	struct node *next;
	uint64_t value;
};

struct chain {
	struct node *head;
	struct node *spare[2]; /* nodes that the Go program has allocated for us */
};

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t load64(const void *at)
{
	return __atomic_load_n((const uint64_t *)at, __ATOMIC_ACQUIRE);
}

static uint32_t load32(const void *at)
{
	return __atomic_load_n((const uint32_t *)at, __ATOMIC_ACQUIRE);
}

/* map_heap reads the superblock and maps the file at the base that it names. */
static char *map_heap(const char *path)
{
	_Alignas(8) char sb[SB_SIZE];
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	uint64_t base, size;
	void *map;

	if (fd < 0 || pread(fd, sb, sizeof(sb), 0) != sizeof(sb))
		die(path);
	if (load64(sb + SB_MAGIC) != MAGIC || load64(sb + SB_READY) != READY ||
	    load32(sb + SB_VERSION) != VERSION) {
		fprintf(stderr, "%s: not a heap of this version\n", path);
		exit(1);
	}
	base = load64(sb + SB_BASE);
	size = load64(sb + SB_REGION_SIZE);
	map = mmap((void *)base, size, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	if (map != (void *)base)
		die("mmap");
	close(fd);
	return map;
}

/* find_root returns what the root of that name leads to. */
static void *find_root(char *heap, const char *name)
{
	char *root = heap + load64(heap + SB_ROOTS);
	uint32_t n = load32(heap + SB_MAX_ROOTS);

	for (; n > 0; n--, root += ROOT_SIZE)
		if ((load64(root + ROOT_STATE) & 1) && !strcmp(root + ROOT_NAME, name))
			return heap + load64(root + ROOT_OFFSET);
	fprintf(stderr, "no root %s\n", name);
	exit(1);
}

/* work walks the list, doubles the values, and appends a node of its own. */
static void work(struct chain *chain, int which)
{
	struct node **end = &chain->head;
	struct node *spare = chain->spare[which];
	uint64_t count = 0, sum = 0;

	for (; *end; end = &(*end)->next) {
		count++;
		sum += (*end)->value;
		(*end)->value *= 2;
	}
	spare->value = 1000 + which;
	__atomic_store_n(end, spare, __ATOMIC_RELEASE);
	printf("%d: %llu nodes, sum %llu\n", which, (unsigned long long)count,
	       (unsigned long long)sum);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct chain *chain;
	int status;
	pid_t pid;

	if (argc != 3)
		return 2;
	chain = find_root(map_heap(argv[1]), argv[2]);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		work(chain, 0);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		die("child");
	work(chain, 1);
	return 0;
}
