/* A program in C that works on a list of raw pointers in the arena of a heap. */
typedef unsigned long long u64;

#define ARENA __attribute__((address_space(1)))
#define SECTION(name) __attribute__((section(name), used))

struct element {
	struct element ARENA *next;
	u64 value;
};

struct context {
	struct element ARENA *first;
	u64 sum;
	u64 count;
};

struct {
	int (*type)[33];
} arena SECTION(".maps");

/* True until the program has used up its turns. */
#define MAY_GO_ON \
	({ \
		__label__ leave, stay; \
		int more = 1; \
		__asm__ volatile goto("may_goto %l[leave]" : : : : leave); \
		goto stay; \
	leave: \
		more = 0; \
	stay:; \
		more; \
	})

SECTION("syscall") int sum(struct context *c)
{
	void *volatile used = &arena; /* the verifier must know which arena is meant */
	struct element ARENA *e;
	u64 total = 0, count = 0;

	for (e = c->first; e && MAY_GO_ON; e = e->next) {
		total += e->value;
		e->value = 0;
		count++;
	}
	c->sum = total;
	c->count = count;
	return used == 0;
}
