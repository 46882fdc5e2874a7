/*
 * Takes over a range that was reserved before the program began, without the library.
 *
 *	adopt BASE SIZE
 *
 * The environment variable proves nothing, as it is inherited by programs that have no reservation. So
 * look at what is mapped, and at the nonce, before MAP_FIXED.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

/* 1 if exactly one private mapping without access covers [base, base+size). */
static int is_reserved(unsigned long base, unsigned long size)
{
	unsigned long start, end;
	char line[4096 + 256], perms[5];
	int found = 0;
	FILE *maps = fopen("/proc/self/maps", "r");

	while (maps && fgets(line, sizeof line, maps))
		if (sscanf(line, "%lx-%lx %4s", &start, &end, perms) == 3 && start == base && end == base + size)
			found = !strcmp(perms, "---p");
	if (maps)
		fclose(maps);
	return found;
}

/* 1 if the reservation begins with the 16 bytes that the nonce writes in hexadecimal. */
static int has_nonce(unsigned long base, const char *nonce)
{
	unsigned char bytes[16];
	char text[33];
	int i, ok, fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);

	ok = fd >= 0 && pread(fd, bytes, sizeof bytes, (off_t)base) == sizeof bytes;
	if (fd >= 0)
		close(fd);
	for (i = 0; ok && i < 16; i++)
		sprintf(text + 2 * i, "%02x", bytes[i]);
	return ok && !memcmp(text, nonce, 32);
}

/* shmheap run: SHMHEAP_RESERVED=base,size,nonce[:base,size,nonce...] */
static int was_launched(unsigned long base, unsigned long size)
{
	unsigned long b, s;
	char nonce[33];
	const char *entry = getenv("SHMHEAP_RESERVED");

	for (; entry; entry = strchr(entry, ':') ? strchr(entry, ':') + 1 : NULL)
		if (sscanf(entry, "%lx,%lx,%32[0-9a-f]", &b, &s, nonce) == 3 && b == base && s == size &&
		    strlen(nonce) == 32)
			return is_reserved(base, size) && has_nonce(base, nonce);
	return 0;
}

/* shmheap stamp: a segment of the program itself. */
static int was_stamped(unsigned long base, unsigned long size)
{
	const Elf64_Phdr *p = (const Elf64_Phdr *)getauxval(AT_PHDR);
	unsigned long n = getauxval(AT_PHNUM);

	for (; p && n > 0; n--, p++)
		if (p->p_type == PT_LOAD && p->p_flags == 0 && p->p_vaddr == base && p->p_memsz == size)
			return is_reserved(base, size);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long base, size;
	void *p;

	if (argc != 3)
		return 2;
	base = strtoul(argv[1], NULL, 0);
	size = strtoul(argv[2], NULL, 0);
	if (!was_launched(base, size) && !was_stamped(base, size)) {
		puts("not reserved");
		return 1;
	}
	/* Here a program passes the descriptor of the heap and MAP_SHARED instead. */
	p = mmap((void *)base, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	puts(p == (void *)base ? "adopted" : "lost");
	return p != (void *)base;
}
