/*
 * Maps a heap at its recorded base without any library, finds the board by the
 * name of its root, and changes it from several threads. The same source is a
 * program and, with -DPRELOAD, a library that does this inside another program:
 * it attaches when it is loaded and looks again when the program ends.
 *
 * SHMHEAP_PROOF_HEAP   path of the heap; without it nothing is done
 * SHMHEAP_PROOF_OUT    file to which a line is appended at each step
 * SHMHEAP_PROOF_SQUAT  if set, a page in the middle of the range is mapped first
 *
 * The offsets of the format come with -D from offsets_unsafe_linux_test.go.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define THREADS 4
#define ROUNDS 250
#define SQUAT_SIZE 65536UL
#define CANARY 0xca9a27UL

/* The type of the Go programs. */
struct board {
	struct board *self; /* its own address, as its maker saw it */
	uint64_t came;
	uint64_t work;
	uint64_t left;
};

struct region {
	uint64_t base;
	uint64_t size;
};

static struct board *board;
static uint64_t *squat;
static int out = -1;

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	_exit(1);
}

static uint64_t load64(const void *at)
{
	return __atomic_load_n((const uint64_t *)at, __ATOMIC_ACQUIRE);
}

static uint32_t load32(const void *at)
{
	return __atomic_load_n((const uint32_t *)at, __ATOMIC_ACQUIRE);
}

/* open_heap reads and checks the superblock. */
static int open_heap(const char *path, struct region *r)
{
	_Alignas(8) char sb[SB_SIZE];
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || pread(fd, sb, sizeof(sb), 0) != sizeof(sb))
		die(path);
	if (load64(sb + SB_MAGIC) != MAGIC || load64(sb + SB_READY) != READY ||
	    load32(sb + SB_VERSION) != VERSION) {
		fprintf(stderr, "%s: not a heap of this version\n", path);
		_exit(1);
	}
	r->base = load64(sb + SB_BASE);
	r->size = load64(sb + SB_REGION_SIZE);
	return fd;
}

/*
 * map_at maps at this address or not at all. A kernel that does not know the
 * flag takes the address for a hint, hence the comparison.
 */
static void *map_at(uint64_t at, uint64_t size, int flags, int fd)
{
	void *map = mmap((void *)at, size, PROT_READ | PROT_WRITE,
			 flags | MAP_FIXED_NOREPLACE, fd, 0);

	if (map == MAP_FAILED || map == (void *)at)
		return map;
	munmap(map, size);
	errno = EEXIST;
	return MAP_FAILED;
}

/* occupy maps something of its own in the middle of the region. */
static void occupy(const struct region *r)
{
	squat = map_at(r->base + r->size / 2, SQUAT_SIZE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1);
	if (squat == MAP_FAILED)
		die("squat");
	*squat = CANARY;
}

/* want_empty ends the program if anything but the squat is in the region. */
static void want_empty(const struct region *r)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[4096];
	unsigned long start, end;

	if (!maps)
		die("maps");
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx", &start, &end) != 2)
			continue;
		if (end <= r->base || start >= r->base + r->size ||
		    (squat && start == (unsigned long)squat))
			continue;
		fprintf(stderr, "left behind: %s", line);
		_exit(1);
	}
	fclose(maps);
	if (squat && *squat != CANARY) {
		fprintf(stderr, "what was in the way has changed\n");
		_exit(1);
	}
}

/* map_heap maps the whole file at its base; otherwise it says why not. */
static char *map_heap(const char *path)
{
	struct region r;
	int fd = open_heap(path, &r);
	int err;
	void *map;

	if (getenv("SHMHEAP_PROOF_SQUAT"))
		occupy(&r);
	map = map_at(r.base, r.size, MAP_SHARED, fd);
	err = errno;
	close(fd);
	if (map != MAP_FAILED)
		return map;
	want_empty(&r);
	errno = err;
	if (err == ENOMEM)
		dprintf(out, "refused: address limit\n");
	else if (err == EEXIST)
		dprintf(out, "refused: taken\n");
	else
		die("mmap");
	return NULL;
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
	_exit(1);
}

static void want_self(void)
{
	if (board->self == board)
		return;
	fprintf(stderr, "the board is at %p and was made at %p\n",
		(void *)board, (void *)board->self);
	_exit(1);
}

/* attach leaves board NULL where it is not asked to, or is refused. */
static void attach(void)
{
	const char *path = getenv("SHMHEAP_PROOF_HEAP");
	const char *file = getenv("SHMHEAP_PROOF_OUT");
	char *heap;

	if (!path || !file)
		return;
	out = open(file, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (out < 0)
		die(file);
	heap = map_heap(path);
	if (!heap)
		return;
	board = find_root(heap, "board");
	want_self();
	dprintf(out, "attached %p %llu\n", (void *)heap,
		(unsigned long long)__atomic_add_fetch(&board->came, 1, __ATOMIC_SEQ_CST));
}

/* work changes the board through the raw pointer in it, and leaves garbage. */
static void *work(void *unused)
{
	for (int i = 0; i < ROUNDS; i++) {
		char *block = malloc(65536 + i);

		if (!block)
			die("malloc");
		memset(block, i, 65536 + i);
		__atomic_add_fetch(&board->self->work, 1 + (block[i] != (char)i), __ATOMIC_SEQ_CST);
		free(block);
	}
	return unused;
}

static void leave(void)
{
	pthread_t threads[THREADS];

	if (!board)
		return;
	want_self();
	for (int i = 0; i < THREADS; i++)
		if ((errno = pthread_create(&threads[i], NULL, work, NULL)))
			die("thread");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	__atomic_add_fetch(&board->left, 1, __ATOMIC_SEQ_CST);
	dprintf(out, "left\n");
}

#ifdef PRELOAD
/* The programs that the host starts are left alone. */
__attribute__((constructor)) static void loaded(void)
{
	unsetenv("LD_PRELOAD");
	attach();
}

__attribute__((destructor)) static void unloaded(void)
{
	leave();
}
#else
int main(void)
{
	attach();
	leave();
	return 0;
}
#endif
