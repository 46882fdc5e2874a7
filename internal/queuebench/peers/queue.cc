// The peers of the queue benchmarks: one measurement a run, between two or three processes, as
//
//	peer NAME PARAMETER COUNT
//
// It prints operations and nanoseconds. The processes are pinned to the processors in $CPUS.

#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/lockfree/queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>

#include <atomic>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <linux/futex.h>
#include <mqueue.h>
#include <new>
#include <sched.h>
#include <string>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <csignal>
#include <unistd.h>
#include <vector>

namespace lf = boost::lockfree;
namespace ip = boost::interprocess;

static std::vector<int> cpus;

static int64_t now() {
	timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void pin(int i) {
	if (cpus.empty())
		return;
	cpu_set_t s;
	CPU_ZERO(&s);
	CPU_SET(cpus[i % cpus.size()], &s);
	sched_setaffinity(0, sizeof s, &s);
}

static void fail(const char *what) {
	perror(what);
	exit(1);
}

template <class T, class... A> static T *shared(A... a) {
	void *m = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (m == MAP_FAILED)
		fail("mmap");
	return new (m) T(a...);
}

struct Board {
	std::atomic<int> ready{0};
};

static Board *board;
static bool realtime;

// hurry puts the process in front of everything else on its processor, unless two of them would have to
// share one. The kernel kills it when it does not end soon.
static void hurry(int processes) {
	if (!realtime || processes > int(cpus.size()))
		return;
	rlimit l = {5000000, 5000000}; // microseconds
	sched_param p{};
	p.sched_priority = 1;
	if (setrlimit(RLIMIT_RTTIME, &l) || sched_setscheduler(0, SCHED_FIFO, &p))
		fail("real time");
}

static void meet(int n) {
	board->ready++;
	while (board->ready < n)
		sched_yield();
}

// run forks a process for each of others, calls mine here, and prints what mine took.
// Where not all of that counts, counted says what does.
static void run(long ops, std::vector<std::function<void()>> others, std::function<void()> mine,
		const int64_t *counted = nullptr) {
	int n = int(others.size()) + 1;
	for (int i = 0; i < n - 1; i++) {
		pid_t pid = fork();
		if (pid < 0)
			fail("fork");
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			pin(i + 1);
			meet(n);
			hurry(n);
			others[i]();
			_exit(0);
		}
	}
	pin(0);
	meet(n);
	hurry(n);
	int64_t begin = now();
	mine();
	int64_t took = now() - begin;
	if (counted)
		took = *counted;
	sched_param p{};
	sched_setscheduler(0, SCHED_OTHER, &p);
	for (int i = 0; i < n - 1; i++)
		wait(nullptr);
	printf("{\"ops\": %ld, \"ns\": %ld}\n", ops, long(took));
}

template <size_t N> static void spsc(long count, size_t batch) {
	typedef lf::spsc_queue<uint64_t, lf::capacity<N>> Q;
	Q *q = shared<Q>();
	run(count, {[=] {
		    uint64_t v[32];
		    for (long i = 1; i <= count;) {
			    if (batch == 1) {
				    i += q->push(uint64_t(i));
				    continue;
			    }
			    for (size_t k = 0; k < batch; k++)
				    v[k] = i + k;
			    i += q->push(v, batch);
		    }
	    }},
	    [=] {
		    uint64_t v[32], sum = 0;
		    for (long i = 0; i < count;) {
			    size_t n = batch == 1 ? q->pop(v[0]) : q->pop(v, batch);
			    for (size_t k = 0; k < n; k++)
				    sum += v[k];
			    i += n;
		    }
		    if (sum == 0)
			    abort();
	    });
}

// Where there are more processes than processors, one that cannot go on lets others run.
template <size_t N> static void mpmc(long count, int producers) {
	bool yield = producers + 1 > int(cpus.size());
	typedef lf::queue<uint64_t, lf::capacity<N>> Q;
	Q *q = shared<Q>();
	std::vector<std::function<void()>> p(producers, [=] {
		for (long i = 0; i < count / producers;)
			if (q->push(uint64_t(i + 1)))
				i++;
			else if (yield)
				sched_yield();
	});
	long all = count / producers * producers;
	run(all, p, [=] {
		uint64_t v;
		for (long i = 0; i < all;)
			if (q->pop(v))
				i++;
			else if (yield)
				sched_yield();
	});
}

// contend has two producers fill a queue that the first empties in between, which is not measured.
template <size_t N> static void contend() {
	typedef lf::queue<uint64_t, lf::capacity<N>> Q;
	const int rounds = 16;
	Q *q = shared<Q>();
	std::atomic<int> *here = shared<std::atomic<int>>(0);
	int64_t *took = shared<int64_t>(0);
	auto fill = [=](bool first) {
		int meetings = 0;
		auto together = [&] {
			meetings += 2;
			(*here)++;
			while (*here < meetings)
				;
		};
		for (int r = 0; r < rounds; r++) {
			together();
			int64_t begin = now();
			for (size_t i = 0; i < N / 2;)
				i += q->push(uint64_t(i + 1));
			together();
			if (!first)
				continue;
			*took += now() - begin;
			uint64_t v;
			for (size_t i = 0; i < N;)
				i += q->pop(v);
		}
	};
	run(long(rounds * N), {[=] { fill(false); }}, [=] { fill(true); }, took);
}

static void rtt(long count, std::function<void(int)> send, std::function<void(int)> receive) {
	run(count, {[=] {
		    for (long i = 0; i < count; i++) {
			    receive(0);
			    send(1);
		    }
	    }},
	    [=] {
		    for (long i = 0; i < count; i++) {
			    send(0);
			    receive(1);
		    }
	    });
}

struct Lines {
	alignas(128) std::atomic<uint64_t> a[2][16]{};
};

static void bounce(long count, bool two) {
	Lines *l = shared<Lines>();
	std::atomic<uint64_t> *there = &l->a[0][0], *back = two ? &l->a[1][0] : &l->a[0][0];
	run(count, {[=] {
		    for (long i = 0; i < count; i++) {
			    while (there->load(std::memory_order_acquire) != uint64_t(2 * i + 1))
				    ;
			    back->store(2 * i + 2, std::memory_order_release);
		    }
	    }},
	    [=] {
		    for (long i = 0; i < count; i++) {
			    there->store(2 * i + 1, std::memory_order_release);
			    while (back->load(std::memory_order_acquire) != uint64_t(2 * i + 2))
				    ;
		    }
	    });
}

static void spscRTT(long count) {
	typedef lf::spsc_queue<uint64_t, lf::capacity<1024>> Q;
	Q *q[2] = {shared<Q>(), shared<Q>()};
	Q *there = q[0], *back = q[1];
	auto at = [=](int i) { return i == 0 ? there : back; };
	rtt(
	    count, [=](int i) { while (!at(i)->push(1)) ; },
	    [=](int i) { uint64_t v; while (!at(i)->pop(v)) ; });
}

static void mpmcRTT(long count) {
	typedef lf::queue<uint64_t, lf::capacity<1024>> Q;
	Q *there = shared<Q>(), *back = shared<Q>();
	auto at = [=](int i) { return i == 0 ? there : back; };
	rtt(
	    count, [=](int i) { while (!at(i)->push(1)) ; },
	    [=](int i) { uint64_t v; while (!at(i)->pop(v)) ; });
}

static void put(int fd) {
	uint64_t v = 1;
	if (write(fd, &v, 8) != 8)
		fail("write");
}

static void get(int fd) {
	uint64_t v;
	if (read(fd, &v, 8) != 8)
		fail("read");
}

// Channels of descriptors: what is written to in[i] is read from out[i].
struct Channel {
	int in[2], out[2];
};

static Channel channel(const std::string &name) {
	Channel c;
	for (int i = 0; i < 2; i++) {
		int p[2];
		if (name == "eventfd")
			p[0] = p[1] = eventfd(0, 0);
		else if (name == "pipe" ? pipe(p) : socketpair(AF_UNIX, SOCK_STREAM, 0, p))
			fail("channel");
		c.out[i] = p[0], c.in[i] = p[1];
	}
	return c;
}

static void stream(const std::string &name, long count) {
	Channel c = channel(name);
	run(count, {[=] { for (long i = 0; i < count; i++) put(c.in[0]); }},
	    [=] { for (long i = 0; i < count; i++) get(c.out[0]); });
}

static void fdRTT(const std::string &name, long count) {
	Channel c = channel(name);
	rtt(count, [=](int i) { put(c.in[i]); }, [=](int i) { get(c.out[i]); });
}

static mqd_t openMQ(int i) {
	std::string name = "/shmheap-bench-" + std::to_string(getpid()) + "-" + std::to_string(i);
	mq_attr a{};
	a.mq_maxmsg = 10;
	a.mq_msgsize = 8;
	mqd_t q = mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, &a);
	if (q == mqd_t(-1))
		fail("mq_open");
	mq_unlink(name.c_str());
	return q;
}

static void putMQ(mqd_t q) {
	uint64_t v = 1;
	if (mq_send(q, (char *)&v, 8, 0))
		fail("mq_send");
}

static void getMQ(mqd_t q) {
	uint64_t v;
	if (mq_receive(q, (char *)&v, 8, nullptr) != 8)
		fail("mq_receive");
}

struct BoostMQ {
	std::string name;
	ip::message_queue q;
	BoostMQ(int i)
	    : name("shmheap-bench-" + std::to_string(getpid()) + "-" + std::to_string(i)),
	      q(ip::create_only, name.c_str(), 1024, 8) {
		ip::message_queue::remove(name.c_str());
	}
	void put() {
		uint64_t v = 1;
		q.send(&v, 8, 0);
	}
	void get() {
		uint64_t v;
		ip::message_queue::size_type n;
		unsigned priority;
		q.receive(&v, 8, n, priority);
	}
};

static void futexRTT(long count) {
	Lines *l = shared<Lines>();
	auto word = [=](int i) { return (uint32_t *)&l->a[i][0]; };
	auto send = [=](int i) {
		__atomic_store_n(word(i), 1, __ATOMIC_SEQ_CST);
		syscall(SYS_futex, word(i), FUTEX_WAKE, 1, nullptr, nullptr, 0);
	};
	auto receive = [=](int i) {
		while (__atomic_exchange_n(word(i), 0, __ATOMIC_SEQ_CST) == 0)
			syscall(SYS_futex, word(i), FUTEX_WAIT, 0, nullptr, nullptr, 0);
	};
	rtt(count, send, receive);
}

static void mutex(long count) {
	ip::interprocess_mutex *m = shared<ip::interprocess_mutex>();
	run(count, {}, [=] {
		for (long i = 0; i < count; i++) {
			m->lock();
			m->unlock();
		}
	});
}

int main(int argc, char **argv) {
	if (argc != 4)
		return 2;
	std::string name = argv[1];
	long parameter = atol(argv[2]), count = atol(argv[3]);
	if (const char *list = getenv("CPUS"))
		for (const char *s = list; *s; s += strspn(s, ","))
			cpus.push_back(int(strtol(s, const_cast<char **>(&s), 10)));
	board = shared<Board>();
	realtime = getenv("REALTIME") != nullptr;
	bool large = parameter > 1024;
	if (name == "spsc")
		large ? spsc<65534>(count, 1) : spsc<1024>(count, 1);
	else if (name == "spsc-batch")
		large ? spsc<65534>(count / 32 * 32, 32) : spsc<1024>(count / 32 * 32, 32);
	else if (name == "mpmc")
		mpmc<1024>(count, 1);
	else if (name == "mpsc")
		mpmc<65534>(count, 2);
	else if (name == "contend")
		contend<65534>();
	else if (name == "spsc-rtt")
		spscRTT(count);
	else if (name == "mpmc-rtt")
		mpmcRTT(count);
	else if (name == "bounce")
		bounce(count, parameter == 2);
	else if (name == "pipe" || name == "socket")
		stream(name, count);
	else if (name == "pipe-rtt" || name == "socket-rtt" || name == "eventfd-rtt")
		fdRTT(name.substr(0, name.find('-')), count);
	else if (name == "futex-rtt")
		futexRTT(count);
	else if (name == "mutex")
		mutex(count);
	else if (name == "mq") {
		mqd_t q = openMQ(0);
		run(count, {[=] { for (long i = 0; i < count; i++) putMQ(q); }},
		    [=] { for (long i = 0; i < count; i++) getMQ(q); });
	} else if (name == "mq-rtt") {
		mqd_t q[2] = {openMQ(0), openMQ(1)};
		rtt(count, [=](int i) { putMQ(q[i]); }, [=](int i) { getMQ(q[i]); });
	} else if (name == "boost-mq") {
		BoostMQ q(0);
		run(count, {[&] { for (long i = 0; i < count; i++) q.put(); }},
		    [&] { for (long i = 0; i < count; i++) q.get(); });
	} else if (name == "boost-mq-rtt") {
		BoostMQ there(0), back(1);
		BoostMQ *q[2] = {&there, &back};
		rtt(count, [&](int i) { q[i]->put(); }, [&](int i) { q[i]->get(); });
	} else {
		return 2;
	}
}
