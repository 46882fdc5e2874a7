/* What kmod/include/shmheap_mutex.h needs of the kernel, in user space. */
#include <asm/types.h>
#include <stdbool.h>
#include <stdint.h>
typedef int64_t s64;
typedef uint64_t u64;
