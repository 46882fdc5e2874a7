// The storm on Boost.Interprocess: processes with two threads each allocate, fill, look and free, one after the
// other is killed behind a few of its operations and replaced, and when nobody gets on any more the heap is made
// anew.
//
//   boost_storm NAME BYTES WORKERS TOUCHED KILLS SEED
//
// prints one line: the kills, those of a process that was inside of an operation, and those that ended the heap. Of
// each block TOUCHED bytes at most are filled and looked at. With a few of them a worker does nothing but allocate and
// free, and is killed in the middle of that.
//
// Killed itself, it leaves the heap's name behind; its processes end with it.

#include <algorithm>
#include <atomic>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/interprocess/offset_ptr.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <signal.h>
#include <string>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <time.h>
#include <unistd.h>

namespace bip = boost::interprocess;
namespace fs = std::filesystem;

constexpr int max_workers = 8;
constexpr int slot_count = 512;
constexpr size_t max_block = 200 << 10;

struct slot {
	std::atomic<uint32_t> owner; // place + 1 of who works on it
	size_t size;
	bip::offset_ptr<void> block;
};

struct place {
	std::atomic<uint64_t> progress; // operations
	std::atomic<uint32_t> inside;   // threads that are in allocate or deallocate
};

struct table {
	place places[max_workers];
	slot slots[slot_count];
};

static size_t touched; // bytes of a block that are filled and looked at, at most

static size_t random_size(std::mt19937_64 &rng) {
	static const size_t limits[] = {16, 256, 256, 4 << 10, 4 << 10, 32 << 10, 64 << 10, max_block};
	return 1 + rng() % limits[rng() % 8];
}

// turn fills an empty slot and empties a full one; where the blocks are looked at, it does no more than that half of
// the times.
static void turn(bip::managed_shared_memory &heap, place &p, slot &s, uint8_t mark, std::mt19937_64 &rng) {
	if (!s.block) {
		size_t size = random_size(rng);
		p.inside++;
		void *block = heap.allocate(size, std::nothrow);
		p.inside--;
		if (!block)
			return;
		std::memset(block, mark, std::min(size, touched));
		s.size = size;
		s.block = block;
		return;
	}
	const uint8_t *bytes = static_cast<const uint8_t *>(s.block.get());
	if (std::memcmp(bytes, bytes + 1, std::min(s.size, touched) - 1))
		abort(); // somebody else has written there
	if (touched >= max_block && rng() % 2)
		return;
	void *block = s.block.get();
	s.block = nullptr;
	p.inside++;
	heap.deallocate(block);
	p.inside--;
}

static void work(bip::managed_shared_memory &heap, table *t, int at, uint64_t seed) {
	std::mt19937_64 rng(seed);
	for (;;) {
		slot &s = t->slots[rng() % slot_count];
		uint32_t nobody = 0;
		if (!s.owner.compare_exchange_strong(nobody, at + 1))
			continue;
		turn(heap, t->places[at], s, uint8_t(at), rng);
		s.owner.store(0);
		t->places[at].progress++;
	}
}

// state_of reads how the kernel sees a thread: the letter behind the name in brackets.
static char state_of(const fs::path &task) {
	std::ifstream file(task / "stat");
	std::string text;
	std::getline(file, text);
	size_t end = text.rfind(')');
	return end == std::string::npos || end + 2 >= text.size() ? 0 : text[end + 2];
}

struct storm {
	const char *name;
	size_t bytes;
	int workers;
	std::mt19937_64 rng;
	bip::managed_shared_memory heap;
	table *t = nullptr;
	pid_t pids[max_workers] = {};

	storm(const char *name, size_t bytes, int workers, uint64_t seed) : name(name), bytes(bytes), workers(workers), rng(seed) {}

	void begin() {
		for (pid_t &pid : pids)
			if (pid) {
				kill(pid, SIGKILL);
				waitpid(pid, nullptr, 0);
				pid = 0;
			}
		bip::shared_memory_object::remove(name);
		heap = bip::managed_shared_memory(bip::create_only, name, bytes);
		t = heap.construct<table>("table")();
		for (int i = 0; i < workers; i++)
			replace(i);
	}

	void replace(int at) {
		uint64_t seed = rng();
		pid_t parent = getpid();
		if ((pids[at] = fork()))
			return;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		std::thread other([&] { work(heap, t, at, seed); });
		work(heap, t, at, ~seed);
	}

	// kill_one kills a worker behind a few of its operations, and reports whether it was inside of one.
	bool kill_one(int at) {
		place &p = t->places[at];
		uint64_t until = p.progress + 1 + rng() % 64;
		while (p.progress < until)
			usleep(20);
		for (uint64_t n = rng() % 2000; n > 0; n--)
			p.progress.load();
		kill(pids[at], SIGKILL);
		int status;
		waitpid(pids[at], &status, 0);
		pids[at] = 0;
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
			fprintf(stderr, "a worker ended by itself: %#x\n", status);
			exit(1);
		}
		for (slot &s : t->slots) {
			uint32_t his = at + 1;
			s.owner.compare_exchange_strong(his, 0);
		}
		return p.inside.exchange(0) != 0;
	}

	uint64_t progress() {
		uint64_t sum = 0;
		for (place &p : t->places)
			sum += p.progress;
		return sum;
	}

	// all_sleep reports whether no thread of a worker runs or waits for a processor or a page: all wait for the lock.
	bool all_sleep() {
		for (pid_t pid : pids) {
			if (!pid)
				continue;
			for (auto &task : fs::directory_iterator("/proc/" + std::to_string(pid) + "/task"))
				if (state_of(task.path()) != 'S')
					return false;
		}
		return true;
	}

	// is_stuck waits until the others get on, or sleep and do nothing at many looks in a row. What needs no lock they
	// do for a while in any case.
	bool is_stuck() {
		uint64_t begin = progress(), last = begin;
		for (int looks = 0; looks < 50; looks++) {
			usleep(2000);
			uint64_t now = progress();
			if (now - begin > 1000)
				return false;
			if (now != last || !all_sleep())
				looks = 0;
			last = now;
		}
		return true;
	}
};

int main(int argc, char **argv) {
	if (argc != 7)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int workers = std::atoi(argv[3]);
	touched = std::strtoull(argv[4], nullptr, 10);
	uint64_t kills = std::strtoull(argv[5], nullptr, 10), inside = 0, ended = 0;
	if (touched < 1 || workers < 1 || workers > max_workers)
		return 2;
	try {
		storm s(argv[1], std::strtoull(argv[2], nullptr, 10), workers, std::strtoull(argv[6], nullptr, 10));
		s.begin();
		for (uint64_t n = 0; n < kills; n++) {
			int at = int(s.rng() % workers);
			inside += s.kill_one(at);
			s.replace(at);
			if (s.is_stuck()) {
				ended++;
				s.begin();
			}
		}
	} catch (const std::exception &e) {
		fprintf(stderr, "%s\n", e.what());
		return 1;
	}
	printf("%llu %llu %llu\n", (unsigned long long)kills, (unsigned long long)inside, (unsigned long long)ended);
	return 0;
}
