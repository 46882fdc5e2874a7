// The loops of loops_cache_unsafe.go in C++, step by step the same. A source is a class with alloc, which
// may return null, and free.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <new>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

constexpr uint64_t size_count = 4096, size_mask = size_count - 1, batch = 1024, burst = 10000;
constexpr uint64_t list_length = 1000, max_workers = 96, slot_count = 1024, ring_count = 4096, chunk_count = 1000;
constexpr uint64_t steady_steps = 100000, steady_first = 20000, steady_each = 1000;

[[noreturn]] inline void die(const char *what) {
    fprintf(stderr, "%s\n", what);
    _exit(1);
}

// Steele, Lea and Flood's generator (OOPSLA 2014).
struct split_mix {
    uint64_t state;
    uint64_t next() {
        uint64_t z = state += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return z ^ z >> 31;
    }
};

inline uint64_t next_size(const char *table, split_mix &r) {
    if (!strcmp(table, "pairs"))
        return 16 + r.next() % 1009;
    if (!strcmp(table, "small"))
        return 64;
    if (!strcmp(table, "tiny"))
        return 16;
    if (!strcmp(table, "mixed")) {
        uint64_t a = r.next() % 16, b = r.next() % 16, low = uint64_t(16) << (a < b ? a : b);
        return low + r.next() % low;
    }
    if (!strcmp(table, "large")) {
        uint64_t low = uint64_t(64 << 10) << (r.next() % 10);
        return low + r.next() % (low + 1);
    }
    if (!strcmp(table, "mstress")) {
        uint64_t size = 16 + r.next() % 113, luck = r.next() % 1000;
        return luck == 0 ? size * 1000 : luck < 10 ? size * 100 : size;
    }
    if (!strcmp(table, "growing")) {
        uint64_t low = uint64_t(16) << (r.next() % 6);
        return low + r.next() % low;
    }
    die("no such table of sizes");
}

// One process or thread puts, one other takes. Either end keeps what it last saw of the other's index.
struct alignas(128) ring {
    std::atomic<uint64_t> head;
    alignas(128) std::atomic<uint64_t> tail;
    alignas(128) uint64_t slots[ring_count];
};

struct ring_end {
    ring *r;
    uint64_t seen_head = 0, seen_tail = 0, taken = 0, put = 0;
    bool try_put(uint64_t v) {
        if (put - seen_head >= ring_count) {
            seen_head = r->head.load(std::memory_order_acquire);
            if (put - seen_head >= ring_count)
                return false;
        }
        r->slots[put & (ring_count - 1)] = v;
        r->tail.store(++put, std::memory_order_release);
        return true;
    }
    bool try_take(uint64_t &v) {
        if (taken == seen_tail) {
            seen_tail = r->tail.load(std::memory_order_acquire);
            if (taken == seen_tail)
                return false;
        }
        v = r->slots[taken & (ring_count - 1)];
        r->head.store(++taken, std::memory_order_release);
        return true;
    }
};

// delayed returns for how many nanoseconds this thread was ready to run and had no processor, 0 where the
// kernel does not say.
inline uint64_t delayed() {
    unsigned long long ran, waited = 0;
    FILE *f = fopen("/proc/thread-self/schedstat", "r");
    if (f && fscanf(f, "%llu %llu", &ran, &waited) != 2)
        waited = 0;
    if (f)
        fclose(f);
    return waited;
}

// resident returns how many bytes of this process are in memory, shared ones included.
inline uint64_t resident() {
    char text[256] = {};
    int fd = open("/proc/self/statm", O_RDONLY);
    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
        die("cannot read /proc/self/statm");
    close(fd);
    char *second = text;
    strtoull(text, &second, 10);
    return strtoull(second, nullptr, 10) * sysconf(_SC_PAGESIZE);
}

// board is shared by all workers of a run.
struct board {
    alignas(128) std::atomic<uint64_t> ready;
    alignas(128) std::atomic<uint64_t> stopped;
    alignas(128) std::atomic<uint64_t> printing; // 1 while a worker does
    alignas(128) std::atomic<uint64_t> handed[max_workers];
    alignas(128) std::atomic<uint64_t> slots[slot_count];
    ring rings[max_workers];
    alignas(128) uint64_t chunks[2 * max_workers][chunk_count];
};

// pages returns memory that comes from no allocator. It is zero.
inline void *pages(size_t size, int sharing = MAP_PRIVATE) {
    void *p = mmap(nullptr, size, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        die("no memory");
    return p;
}

inline board *new_board() { return static_cast<board *>(pages(sizeof(board), MAP_SHARED)); }

inline uint64_t now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return uint64_t(t.tv_sec) * 1000000000 + t.tv_nsec;
}

inline uint64_t ticks() {
#if defined(__x86_64__)
    _mm_lfence();
    uint64_t t = __rdtsc();
    _mm_lfence();
    return t;
#elif defined(__aarch64__)
    uint64_t t;
    asm volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(t)::"memory");
    return t;
#else
    return now();
#endif
}

// The buckets of histogram.go.
struct histogram {
    static constexpr int count = 64 + 34 * 32;
    uint64_t buckets[count] = {};
    void add(uint64_t v) {
        int i = int(v);
        if (v >= 64) {
            int e = 63 - __builtin_clzll(v);
            i = 64 + (e - 6) * 32 + int(v >> (e - 5)) - 32;
            if (i > count - 1)
                i = count - 1;
        }
        buckets[i]++;
    }
    uint64_t median() const {
        uint64_t all = 0, seen = 0;
        for (uint64_t n : buckets)
            all += n;
        for (int i = 0; i < 64; i++)
            if ((seen += buckets[i]) * 2 >= all)
                return i;
        for (int i = 64; i < count; i++)
            if ((seen += buckets[i]) * 2 >= all)
                return uint64_t(32 + (i - 64) % 32) << (1 + (i - 64) / 32);
        return 0;
    }
    void print(const char *name) const {
        printf(",\"%s\":[", name);
        const char *comma = "";
        for (int i = 0; i < count; i++)
            if (buckets[i]) {
                printf("%s[%d,%llu]", comma, i, (unsigned long long)buckets[i]);
                comma = ",";
            }
        printf("]");
    }
};

struct job {
    const char *subject, *loop, *sizes;
    uint64_t workers, worker, time;
    bool timed;
    const char *cpus;
};

struct run {
    job j;
    board *b;
    uint32_t sizes[size_count];
    ring_end inbox, outbox;
    uint64_t rng, begun = 0, waited = 0, ops = 0, spins = 0, meetings = 0;
    double seconds = 0, lost = 0;
    uint64_t requested = 0, peak = 0, held = 0; // bytes of the loop steady
    bool counting = false; // between begin and end

    run(const job &j, board *b)
        : j(j), b(b), inbox{&b->rings[j.worker]}, outbox{&b->rings[(j.worker + 1) % j.workers]}, rng(j.worker + 1) {
        split_mix r{j.worker + 1};
        for (uint32_t &s : sizes)
            s = uint32_t(next_size(j.sizes, r));
    }
    uint64_t checksum() const {
        uint64_t sum = 0;
        for (uint32_t s : sizes)
            sum = sum * 31 + s;
        return sum;
    }
    void meet() {
        meetings++;
        b->ready++;
        while (b->ready.load() < meetings * j.workers)
            sched_yield();
    }
    void begin() {
        meet();
        counting = true;
        waited = delayed();
        begun = now();
    }
    bool over() const { return now() - begun >= j.time; }
    bool idle() {
        if (++spins % 1024 == 0)
            sched_yield();
        return spins % 64 == 0 && over();
    }
    void end(uint64_t n) {
        seconds = double(now() - begun) / 1e9;
        lost = double(delayed() - waited) / 1e9;
        ops = n;
        counting = false;
    }
    void stop() {
        b->stopped++;
        while (b->stopped.load() < j.workers)
            sched_yield();
    }
    uint64_t random() {
        uint64_t x = rng;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        return rng = x;
    }
};

struct node {
    node *next;
    uint64_t key, rest[4];
};

template <class Source> struct loops {
    run &l;
    Source &src;

    void *get(uint64_t size) {
        void *p = src.alloc(size);
        if (__builtin_expect(!p, 0))
            die("out of memory");
        return p;
    }
    void *put(uint64_t i) {
        void *p = get(l.sizes[i & size_mask]);
        *static_cast<uint64_t *>(p) = i;
        return p;
    }
    void free_word(uint64_t w) { src.free(reinterpret_cast<void *>(w)); }
    static uint64_t word(void *p) { return reinterpret_cast<uint64_t>(p); }
    void free_forward(void **live, size_t n) {
        for (size_t i = 0; i < n; i++)
            src.free(live[i]);
    }
    void free_backward(void **live, size_t n) {
        for (size_t i = n; i-- > 0;)
            src.free(live[i]);
    }
    void fill_with(void **live, size_t n) {
        for (size_t i = 0; i < n; i++)
            live[i] = put(i);
    }
    void alloc_burst(void **live, uint64_t n) {
        for (uint64_t i = 0; i < burst; i++) {
            live[i] = get(l.sizes[(n + i) & size_mask]);
            *static_cast<uint64_t *>(live[i]) = n;
        }
    }

    void pairs() {
        void *live[512];
        fill_with(live, 512);
        l.begin();
        uint64_t n = 0;
        while (!l.over())
            for (uint64_t end = n + batch; n < end; n++) {
                uint64_t k = n * 7 & 511;
                src.free(live[k]);
                live[k] = put(n);
            }
        l.end(n);
        free_forward(live, 512);
    }
    void fill() {
        static thread_local void *live[burst];
        l.begin();
        uint64_t n = 0;
        for (bool forward = true; !l.over(); forward = !forward, n += burst) {
            alloc_burst(live, n);
            if (forward)
                free_forward(live, burst);
            else
                free_backward(live, burst);
        }
        l.end(n);
    }
    void drain() {
        static thread_local void *live[burst];
        l.begin();
        uint64_t n = 0;
        for (; !l.over(); n += burst) {
            alloc_burst(live, n);
            free_forward(live, burst);
        }
        l.end(n);
    }
    void replace() {
        static thread_local void *live[2048];
        fill_with(live, 2048);
        l.begin();
        uint64_t n = 0;
        while (!l.over())
            for (uint64_t end = n + batch / 16; n < end; n++) {
                uint64_t k = (l.random() >> 20) & 2047;
                src.free(live[k]);
                live[k] = put(n);
            }
        l.end(n);
        free_forward(live, 2048);
    }
    // steady replaces blocks and looks at what the process has in memory every now and then.
    void steady(uint64_t count) {
        void **live = static_cast<void **>(pages(count * sizeof(void *)));
        uint64_t *bytes = static_cast<uint64_t *>(pages(count * sizeof(uint64_t)));
        memset(live, 1, count * sizeof(void *));
        memset(bytes, 1, count * sizeof(uint64_t));
        uint64_t before = resident(), requested = 0, looks = 0;
        l.begin();
        for (uint64_t n = 0; n < count + steady_steps; n++) {
            uint64_t k = n;
            if (n >= count) {
                k = (l.random() >> 20) % count;
                src.free(live[k]);
                requested -= bytes[k];
            }
            live[k] = put(n);
            bytes[k] = l.sizes[n & size_mask];
            for (uint64_t off = 4096; off < bytes[k]; off += 4096)
                static_cast<volatile char *>(live[k])[off] = 1;
            requested += bytes[k];
            if (requested > l.peak)
                l.peak = requested;
            if (n >= count + steady_first && (n - count) % steady_each == 0) {
                looks++;
                l.requested += requested;
                l.held += resident() - before;
            }
        }
        l.end(steady_steps);
        l.requested /= looks;
        l.held /= looks;
        free_forward(live, count);
    }
    void nodes() {
        l.begin();
        uint64_t n = 0;
        for (; !l.over(); n += list_length) {
            node *list = nullptr;
            for (uint64_t i = 0; i < list_length; i++) {
                node *next = new (get(sizeof(node))) node();
                next->next = list;
                next->key = i;
                list = next;
            }
            while (list) {
                node *first = list;
                list = first->next;
                src.free(first);
            }
        }
        l.end(n);
    }
    void big_blocks(uint64_t stride) {
        void *live[4] = {};
        l.begin();
        uint64_t n = 0;
        for (; !l.over(); n++) {
            uint64_t k = n & 3, size = l.sizes[n & size_mask];
            if (live[k])
                src.free(live[k]);
            live[k] = get(size);
            if (stride)
                for (uint64_t off = 0; off < size; off += stride)
                    static_cast<volatile char *>(live[k])[off] = 1;
        }
        l.end(n);
        for (void *p : live)
            if (p)
                src.free(p);
    }
    void batches() {
        void *window[8][64];
        l.begin();
        uint64_t n = 0;
        for (uint64_t round = 0; !l.over(); round++, n += 64) {
            void **b = window[round & 7];
            if (round >= 8)
                free_forward(b, 32);
            uint64_t size = l.sizes[round & size_mask];
            for (int i = 0; i < 64; i++) {
                b[i] = get(size);
                *static_cast<uint64_t *>(b[i]) = size;
            }
            free_backward(b + 32, 32);
        }
        l.end(n);
        for (uint64_t i = 0; i < 8 && i < n / 64; i++)
            free_forward(window[i], 32);
    }
    void scratch() {
        if (l.j.worker == 0)
            for (uint64_t i = 0; i < l.j.workers; i++)
                l.b->handed[i] = word(put(i));
        l.begin();
        free_word(l.b->handed[l.j.worker]);
        uint64_t n = 0;
        while (!l.over())
            for (uint64_t end = n + batch / 16; n < end; n++) {
                volatile uint64_t *w = static_cast<uint64_t *>(get(16));
                *w = n;
                for (int i = 0; i < 100; i++)
                    *w = *w + 1;
                src.free(const_cast<uint64_t *>(w));
            }
        l.end(n);
    }
    void larson() {
        uint64_t held = 2 * l.j.worker;
        for (uint64_t c = held; c < held + 2; c++)
            for (uint64_t i = 0; i < chunk_count; i++)
                l.b->chunks[c][i] = word(put(i));
        l.outbox.try_put(held + 1);
        l.begin();
        uint64_t n = 0;
        for (bool ok = true; ok && !l.over();) {
            uint64_t *chunk = l.b->chunks[held];
            for (uint64_t end = n + chunk_count; n < end; n++) {
                uint64_t *w = &chunk[(l.random() >> 20) % chunk_count];
                free_word(*w);
                *w = word(put(n));
            }
            l.outbox.try_put(held);
            ok = await(held);
        }
        l.end(n);
        l.stop();
        for (uint64_t c = 0; l.j.worker == 0 && c < 2 * l.j.workers; c++)
            for (uint64_t w : l.b->chunks[c])
                free_word(w);
    }
    bool await(uint64_t &v) {
        for (;;) {
            if (l.inbox.try_take(v))
                return true;
            if (l.idle())
                return false;
        }
    }
    void pipe() {
        if (l.j.worker == 0) {
            pipe_in();
            return;
        }
        l.begin();
        uint64_t n = 0, w;
        while (!l.over())
            for (uint64_t end = n + batch; n < end; n++) {
                if (!await(w))
                    break;
                free_word(w);
            }
        l.end(n);
        l.stop();
        empty_inbox();
    }
    void pipe_in() {
        l.begin();
        bool sent = true;
        for (uint64_t n = 0; sent && !l.over();)
            for (uint64_t end = n + batch; sent && n < end; n++) {
                void *p = put(n);
                if (!(sent = send(p)))
                    src.free(p);
            }
        l.end(0);
        l.stop();
    }
    bool send(void *p) {
        while (!l.outbox.try_put(word(p)))
            if (l.idle())
                return false;
        return true;
    }
    void handover() {
        if (l.j.worker == 0) {
            handover_in();
            return;
        }
        l.begin();
        uint64_t n = 0, w;
        for (bool ok = true; ok && !l.over();)
            for (uint64_t end = n + batch; ok && n < end; n++)
                if (!(ok = await(w)))
                    break;
        l.end(n);
        l.stop();
    }
    void handover_in() {
        void *blocks[512];
        fill_with(blocks, 512);
        l.begin();
        bool sent = true;
        for (uint64_t n = 0; sent && !l.over();)
            for (uint64_t end = n + batch; sent && n < end; n++) {
                void *p = blocks[n & 511];
                *static_cast<uint64_t *>(p) = n;
                sent = send(p);
            }
        l.end(0);
        l.stop();
        free_forward(blocks, 512);
    }
    void empty_inbox() {
        while (free_taken(batch))
            ;
    }
    uint64_t free_taken(uint64_t limit) {
        uint64_t w;
        for (uint64_t n = 0; n < limit; n++) {
            if (!l.inbox.try_take(w))
                return n;
            free_word(w);
        }
        return limit;
    }
    void xmalloc() {
        void *made[120];
        l.begin();
        uint64_t n = 0;
        while (!l.over()) {
            fill_with(made, 120);
            n += exchange(made, 120);
        }
        l.end(n);
        l.stop();
        empty_inbox();
    }
    uint64_t exchange(void **made, size_t count) {
        uint64_t freed = 0;
        for (size_t i = 0; i < count; i++)
            while (!l.outbox.try_put(word(made[i]))) {
                uint64_t n = free_taken(1);
                freed += n;
                if (n == 0 && l.idle()) {
                    free_forward(made + i, count - i);
                    return freed;
                }
            }
        return freed + free_taken(count);
    }
    void mstress() {
        void *live[1000];
        fill_with(live, 1000);
        l.begin();
        uint64_t n = 0;
        while (!l.over())
            for (uint64_t end = n + batch; n < end; n++) {
                uint64_t x = l.random(), k = (x >> 20) % 1000;
                if (((x >> 60) & 7) != 0)
                    src.free(live[k]);
                else if (uint64_t w = l.b->slots[(x >> 32) & (slot_count - 1)].exchange(word(live[k])))
                    free_word(w);
                live[k] = put(n);
            }
        l.end(n);
        l.stop();
        for (auto &s : l.b->slots)
            if (uint64_t w = s.exchange(0))
                free_word(w);
        free_forward(live, 1000);
    }

    void work() {
        static const struct {
            const char *name;
            void (loops::*loop)();
        } all[] = {
            {"pairs", &loops::pairs},     {"empty", &loops::pairs},   {"fill", &loops::fill},
            {"threadtest", &loops::drain}, {"replace", &loops::replace}, {"nodes", &loops::nodes},
            {"sh6bench", &loops::batches}, {"scratch", &loops::scratch}, {"larson", &loops::larson},
            {"xproc", &loops::pipe},      {"handover", &loops::handover}, {"xmalloc", &loops::xmalloc}, {"mstress", &loops::mstress},
        };
        if (!strcmp(l.j.loop, "touch") || !strcmp(l.j.loop, "untouched"))
            return big_blocks(!strcmp(l.j.loop, "touch") ? 4096 : 0);
        if (!strncmp(l.j.loop, "steady-", 7))
            return steady(strtoull(l.j.loop + 7, nullptr, 10));
        for (auto &x : all)
            if (!strcmp(x.name, l.j.loop))
                return (this->*x.loop)();
        die("no such loop");
    }
};

// nothing is the allocator of the empty loop: two calls that cannot be inlined.
struct nothing {
    uint64_t block[8];
    __attribute__((noinline)) void *alloc(uint64_t) {
        asm volatile("" ::: "memory");
        return block;
    }
    __attribute__((noinline)) void free(void *) { asm volatile("" ::: "memory"); }
};

// stopwatch is a source that times each call of another. Those count between run.begin and run.end.
template <class Source> struct stopwatch {
    Source &src;
    const bool &counting;
    histogram allocs, frees;
    stopwatch(Source &src, const bool &counting) : src(src), counting(counting) {}
    void add(histogram &h, uint64_t ticks) {
        if (counting)
            h.add(ticks);
    }
    void *alloc(uint64_t size) {
        uint64_t begin = ticks();
        void *p = src.alloc(size);
        add(allocs, ticks() - begin);
        return p;
    }
    void free(void *p) {
        uint64_t begin = ticks();
        src.free(p);
        add(frees, ticks() - begin);
    }
};

inline uint64_t clock_cost() {
    static const bool always = true;
    static thread_local nothing n;
    static thread_local stopwatch<nothing> s(n, always);
    for (int i = 0; i < 20000; i++)
        s.alloc(0);
    return s.allocs.median();
}

// print writes the line that parseResult reads.
inline void print(const run &l, uint64_t cost, double tick_ns, const histogram *allocs, const histogram *frees,
                  const char *version, const char *library) {
    while (l.b->printing.exchange(1))
        sched_yield();
    printf("{\"ops\":%llu,\"seconds\":%.9f,\"lost\":%.9f,\"sizes\":%llu,\"clock\":%llu,\"tick_ns\":%.9f", (unsigned long long)l.ops,
           l.seconds, l.lost, (unsigned long long)l.checksum(), (unsigned long long)cost, tick_ns);
    if (allocs) {
        allocs->print("alloc");
        frees->print("free");
    }
    if (l.peak)
        printf(",\"steady\":{\"requested\":%llu,\"peak\":%llu,\"resident\":%llu}", (unsigned long long)l.requested,
               (unsigned long long)l.peak, (unsigned long long)l.held);
    printf(",\"version\":\"%s\",\"library\":\"%s\"}\n", version, library);
    fflush(stdout);
    l.b->printing = 0;
}

// work does a worker's job over a source and prints the result.
template <class Source> void work(const job &j, board *b, Source &src, const char *version, const char *library) {
    run &l = *new (pages(sizeof(run))) run(j, b);
    if (!j.timed) {
        loops<Source>{l, src}.work();
        print(l, 0, 0, nullptr, nullptr, version, library);
        return;
    }
    uint64_t cost = clock_cost();
    stopwatch<Source> &s = *new (pages(sizeof(stopwatch<Source>))) stopwatch<Source>(src, l.counting);
    uint64_t from = now(), first = ticks();
    loops<stopwatch<Source>>{l, s}.work();
    double per_tick = double(now() - from) / double(ticks() - first);
    print(l, cost, per_tick, &s.allocs, &s.frees, version, library);
}
