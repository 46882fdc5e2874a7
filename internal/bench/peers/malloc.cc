// A private allocator behind malloc and free: that of the C library, or of the library that this is linked
// with. Its workers are threads.
#include "main.h"

#include <dlfcn.h>
#include <malloc.h>
#if defined(PEER_MIMALLOC)
#include <mimalloc.h>
#elif defined(PEER_JEMALLOC)
#include <jemalloc/jemalloc.h>
#else
#include <gnu/libc-version.h>
#endif

struct source {
    void *alloc(uint64_t size) { return malloc(size); }
    void free(void *p) { ::free(p); }
};

static const char *version() {
    static char text[64];
#if defined(PEER_MIMALLOC)
    int v = mi_version();
    snprintf(text, sizeof text, "%d.%d.%d", v / 100, v / 10 % 10, v % 10);
#elif defined(PEER_JEMALLOC)
    const char *v = "unknown";
    size_t n = sizeof v;
    mallctl("version", &v, &n, nullptr, 0);
    snprintf(text, sizeof text, "%.*s", int(strcspn(v, "-")), v);
#else
    snprintf(text, sizeof text, "%s", gnu_get_libc_version());
#endif
    return text;
}

// library returns the file that malloc comes from.
static const char *library() {
    Dl_info info;
    void *p = dlsym(RTLD_DEFAULT, "malloc");
    return p && dladdr(p, &info) ? info.dli_fname : "unknown";
}

int main(int argc, char **argv) {
    job j = parse(argc, argv);
    board *b = new_board();
    // A fixed threshold: what is larger gets, and gives back, a mapping of its own.
    if (!strcmp(j.subject, "glibc-mmap"))
        mallopt(M_MMAP_THRESHOLD, 64 << 10);
    const char *v = version(), *from = library();
    in_threads(j, [&](const job &mine) {
        if (!strcmp(mine.loop, "empty")) {
            static nothing n;
            work(mine, b, n, v, from);
            return;
        }
        source s;
        work(mine, b, s, v, from);
    });
}
