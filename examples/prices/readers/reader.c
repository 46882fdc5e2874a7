/* Reads what examples/prices stored, by offsets: reader FILE
 *
 * The numbers are those of doc/format.md. Every offset is checked against the size of the region, as any process
 * may have written it.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define MAGIC 0x504145484d48531aULL
#define READY 0x1d5ead1e4ea90001ULL

struct table { uint64_t count, first; };
struct price { uint64_t next; int64_t cents; char name[16]; };

static const unsigned char *heap;
static uint64_t size;

/* at returns n bytes at an offset, or NULL where there are not as many. */
static const void *at(uint64_t offset, uint64_t n)
{
	return offset <= size && n <= size - offset ? heap + offset : NULL;
}

static uint64_t word(uint64_t offset)
{
	const uint64_t *p = at(offset, 8);
	return p ? __atomic_load_n(p, __ATOMIC_ACQUIRE) : 0;
}

/* root returns the offset that a root leads to, 0 for none. */
static uint64_t root(const char *name)
{
	uint64_t entry = word(160 + 8); /* the second of the sections */
	uint32_t count = (uint32_t)word(40);

	for (; count > 0; count--, entry += 128) {
		const char *given = at(entry + 24, 64);
		if (given && word(entry) & 1 && strncmp(given, name, 64) == 0)
			return word(entry + 8);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct stat st;
	int fd = argc == 2 ? open(argv[1], O_RDONLY) : -1;

	if (fd < 0 || fstat(fd, &st) != 0) {
		perror("reader");
		return 1;
	}
	size = (uint64_t)st.st_size;
	heap = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (heap == MAP_FAILED || word(0) != MAGIC || word(512) != READY) {
		fprintf(stderr, "not a heap, or not a complete one\n");
		return 1;
	}
	const struct table *t = at(root("prices"), sizeof *t);
	uint64_t left = t ? t->count : 0, next = t ? t->first : 0;
	for (; left > 0; left--) {
		const struct price *p = at(next, sizeof *p);
		if (!next || !p) {
			fprintf(stderr, "damaged\n");
			return 1;
		}
		printf("%.16s %lld\n", p->name, (long long)p->cents);
		next = p->next;
	}
	return 0;
}
