// The storm on Boost.Interprocess: one process of it allocates, links and frees, until it is killed. Words
// in the heap count what each of the processes has done.
//
//   boost_storm create NAME BYTES     make the heap
//   boost_storm work NAME PLACE SEED  work on it
//   boost_storm read NAME             for each line on standard input, print the counts
//   boost_storm remove NAME           remove it

#include <atomic>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/interprocess/offset_ptr.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>
#include <string>

namespace bip = boost::interprocess;

constexpr int workers = 8;
constexpr int slot_count = 512;
constexpr size_t max_block = 200 << 10;

struct slot {
	std::atomic<uint32_t> owner; // place + 1 of who works on it; who dies keeps it
	bip::offset_ptr<void> block;
};

struct table {
	std::atomic<uint64_t> progress[workers];
	slot slots[slot_count];
};

static size_t random_size(std::mt19937_64 &rng) {
	static const size_t limits[] = {16, 256, 256, 4 << 10, 4 << 10, 32 << 10, 64 << 10, max_block};
	return 1 + rng() % limits[rng() % 8];
}

static int work(const char *name, int place, uint64_t seed) {
	bip::managed_shared_memory heap(bip::open_only, name);
	table *t = heap.find<table>("table").first;
	std::mt19937_64 rng(seed);
	for (;;) {
		slot &s = t->slots[rng() % slot_count];
		uint32_t nobody = 0;
		if (!s.owner.compare_exchange_strong(nobody, place + 1))
			continue;
		if (s.block) {
			heap.deallocate(s.block.get());
			s.block = nullptr;
		} else {
			size_t size = random_size(rng);
			s.block = heap.allocate(size);
			std::memset(s.block.get(), place, size < 64 ? size : 64);
		}
		s.owner.store(0);
		t->progress[place].fetch_add(1);
	}
}

int main(int argc, char **argv) {
	if (argc < 3)
		return 2;
	const std::string verb = argv[1];
	const char *name = argv[2];
	try {
		if (verb == "work")
			return work(name, std::atoi(argv[3]), std::strtoull(argv[4], nullptr, 10));
		if (verb == "remove") {
			bip::shared_memory_object::remove(name);
			return 0;
		}
		if (verb == "create") {
			bip::shared_memory_object::remove(name);
			bip::managed_shared_memory heap(bip::create_only, name, std::strtoull(argv[3], nullptr, 10));
			heap.construct<table>("table")();
			return 0;
		}
		// The one that reads finds the table before anybody works: finding it takes the heap's lock.
		bip::managed_shared_memory heap(bip::open_only, name);
		table *t = heap.find<table>("table").first;
		for (std::string line; std::getline(std::cin, line);) {
			for (auto &p : t->progress)
				std::cout << p.load() << ' ';
			std::cout << std::endl;
		}
	} catch (const std::exception &e) {
		std::cerr << e.what() << std::endl;
		return 1;
	}
	return 0;
}
