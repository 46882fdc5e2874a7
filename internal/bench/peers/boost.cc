// Boost.Interprocess: rbtree_best_fit behind one mutex, with relative pointers at any address, or with raw
// pointers at a fixed one. Its workers are processes.
#include "main.h"

#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/version.hpp>

namespace ip = boost::interprocess;

typedef ip::managed_shared_memory relative;
typedef ip::fixed_managed_shared_memory fixed;

// In the first of the windows of package probe, where nothing else is.
static void *const fixed_address = reinterpret_cast<void *>(0x550000000000);

template <class Segment> struct source {
    Segment &segment;
    void *alloc(uint64_t size) { return segment.allocate(size, std::nothrow); }
    void free(void *p) { segment.deallocate(p); }
};

// main_in takes the name away before anything can go wrong: the mapping is inherited.
template <class Segment> void main_in(const job &j, Segment &segment, const char *name) {
    ip::shared_memory_object::remove(name);
    board *b = new_board();
    in_processes(j, [&](const job &mine) {
        source<Segment> s{segment};
        work(mine, b, s, BOOST_LIB_VERSION, "");
    });
}

int main(int argc, char **argv) {
    job j = parse(argc, argv);
    char name[64];
    snprintf(name, sizeof name, "shmheap-bench-boost-%d", int(getpid()));
    const size_t size = size_t(1) << 30;
    try {
        if (!strcmp(j.subject, "boost-fixed")) {
            fixed segment(ip::create_only, name, size, fixed_address);
            main_in(j, segment, name);
        } else {
            relative segment(ip::create_only, name, size);
            main_in(j, segment, name);
        }
    } catch (const std::exception &e) {
        ip::shared_memory_object::remove(name);
        die(e.what());
    }
}
