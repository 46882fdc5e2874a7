package queuebench

// Workload is what is measured of several subjects.
type Workload struct {
	Name  string
	About string
	// Latency says that a result is nanoseconds for each operation, and not operations a second.
	Latency  bool
	Subjects []Subject
	// Asleep says that processes sleep and are woken. How long that takes depends on how deep the processor slept, which
	// no round is too disturbed to show: a round measures each subject asleepRepeats times, and medians are compared.
	Asleep bool
}

const asleepRepeats = 5

// repeats returns how often a round measures each subject.
func (w *Workload) repeats() int {
	if w.Asleep {
		return asleepRepeats
	}
	return 1
}

// Subject is one that takes part in a workload.
type Subject struct {
	Name      string
	Job       string // of ours or of the peers' program
	Parameter int
	Count     int // operations
	Workers   int // processes of ours; 0 for one of the peers
}

func ours(name, job string, parameter, count, workers int) Subject {
	return Subject{Name: name, Job: job, Parameter: parameter, Count: count, Workers: workers}
}

func peer(name, job string, parameter, count int) Subject {
	return Subject{Name: name, Job: job, Parameter: parameter, Count: count}
}

// Names of subjects that targets speak of.
const (
	Ours      = "shmheap"
	OursDoze  = "shmheap, asleep after a spin"
	BoostSPSC = "Boost.Lockfree spsc_queue"
	BoostMPMC = "Boost.Lockfree queue"
	BoostMQ   = "Boost.Interprocess message_queue"
	Bounce1   = "a bare line"
	Bounce2   = "two bare lines"
)

// Workloads are all that is measured.
var Workloads = []Workload{
	{Name: "spsc/1024", About: "one by one, one producer and one consumer", Subjects: []Subject{
		ours(Ours, "spsc", 1024, 4_000_000, 2), peer(BoostSPSC, "spsc", 1024, 4_000_000),
		peer("pipe", "pipe", 0, 100_000), peer("unix socket", "socket", 0, 100_000),
		peer("POSIX message queue", "mq", 0, 50_000), peer(BoostMQ, "boost-mq", 0, 200_000),
		ours("Go channel, in one process", "chan", 1024, 1_000_000, 1),
	}},
	{Name: "spsc/65536", About: "the same, a longer queue", Subjects: []Subject{
		ours(Ours, "spsc", 65536, 4_000_000, 2), peer(BoostSPSC, "spsc", 65536, 4_000_000),
	}},
	{Name: "batch/1024", About: "in batches of 32", Subjects: []Subject{
		ours(Ours, "batch", 1024, 16_000_000, 2), peer(BoostSPSC, "spsc-batch", 1024, 8_000_000),
	}},
	{Name: "batch/65536", About: "the same, a longer queue", Subjects: []Subject{
		ours(Ours, "batch", 65536, 16_000_000, 2), peer(BoostSPSC, "spsc-batch", 65536, 8_000_000),
	}},
	{Name: "mpsc/1", About: "a queue for many producers, of which there is one", Subjects: []Subject{
		ours(Ours, "mpsc", 1024, 2_000_000, 2), peer(BoostMPMC, "mpmc", 1024, 300_000),
	}},
	{Name: "mpsc/2", About: "two producers and one consumer", Subjects: []Subject{
		ours(Ours, "mpsc", 65536, 2_000_000, 3), peer(BoostMPMC, "mpsc", 65536, 300_000),
	}},
	{Name: "mpmc/1", About: "a queue for many of both, of which there is one each", Subjects: []Subject{
		ours(Ours, "mpmc", 1024, 2_000_000, 2), peer(BoostMPMC, "mpmc", 1024, 300_000),
	}},
	{Name: "contend/65536", About: "two producers fill a queue together", Subjects: []Subject{
		ours(Ours, "contend", 65536, 16*65536, 2), peer(BoostMPMC, "contend", 65536, 16*65534),
	}},
	{Name: "hands", About: "blocks made, sent, received and freed", Subjects: []Subject{
		ours(Ours, "hands", 1024, 300_000, 2),
	}},
	{Name: "roundtrip", About: "there and back through two queues, spinning", Latency: true, Subjects: []Subject{
		ours(Ours, "roundtrip", 1024, 200_000, 2), ours(OursDoze, "doze", 1024, 100_000, 2), peer(Bounce2, "bounce", 2, 200_000),
		peer(BoostSPSC, "spsc-rtt", 0, 100_000), peer(BoostMPMC, "mpmc-rtt", 0, 100_000),
	}},
	{Name: "mailbox", About: "a request and its reply in one line, spinning", Latency: true, Subjects: []Subject{
		ours(Ours, "mailbox", 0, 200_000, 2), peer(Bounce1, "bounce", 1, 200_000),
	}},
	{Name: "sleep", About: "there and back, asleep in between", Latency: true, Asleep: true, Subjects: []Subject{
		ours(Ours, "sleep", 1024, 5_000, 2),
		peer("futex", "futex-rtt", 0, 5_000), peer("eventfd", "eventfd-rtt", 0, 5_000), peer("pipe", "pipe-rtt", 0, 5_000),
		peer("unix socket", "socket-rtt", 0, 5_000), peer("POSIX message queue", "mq-rtt", 0, 5_000),
		peer(BoostMQ, "boost-mq-rtt", 0, 5_000),
	}},
	{Name: "broadcast", About: "records of 56 bytes written", Latency: true, Subjects: []Subject{
		ours(Ours, "broadcast", 1024, 5_000_000, 1), ours("shmheap, with a reader", "broadcast", 1024, 5_000_000, 2),
	}},
	{Name: "mutex", About: "lock and unlock, nobody else there", Latency: true, Subjects: []Subject{
		ours(Ours, "mutex", 0, 3_000_000, 1), ours("two compare-and-swaps", "cas", 0, 3_000_000, 1),
		ours("sync.Mutex, in one process", "gomutex", 0, 3_000_000, 1), peer("Boost.Interprocess mutex", "mutex", 0, 3_000_000),
	}},
}

// Target is a bound on the quotient of what two subjects took.
type Target struct {
	Name            string
	Workload, Ours  string
	Beside, Subject string // workload and subject that it is compared with
	AtLeast         bool   // or at most
	Bound           float64
	Ratio           float64
	Why             string // it was not measured, "" if it was
}

// Met reports whether the quotient keeps within the bound.
func (t *Target) Met() bool {
	return t.Why == "" && (t.AtLeast && t.Ratio >= t.Bound || !t.AtLeast && t.Ratio <= t.Bound)
}

// targets were set before the queues were written.
var targets = []Target{
	{Name: "spsc, beside Boost.Lockfree, 1024", Workload: "spsc/1024", Ours: Ours, Beside: "spsc/1024", Subject: BoostSPSC, AtLeast: true, Bound: 1.3},
	{Name: "spsc, beside Boost.Lockfree, 65536", Workload: "spsc/65536", Ours: Ours, Beside: "spsc/65536", Subject: BoostSPSC, AtLeast: true, Bound: 1.3},
	{Name: "batches, beside Boost.Lockfree one by one, 1024", Workload: "batch/1024", Ours: Ours, Beside: "spsc/1024", Subject: BoostSPSC, AtLeast: true, Bound: 4},
	{Name: "batches, beside Boost.Lockfree one by one, 65536", Workload: "batch/65536", Ours: Ours, Beside: "spsc/65536", Subject: BoostSPSC, AtLeast: true, Bound: 4},
	{Name: "mpsc, two producers, beside Boost.Lockfree", Workload: "mpsc/2", Ours: Ours, Beside: "mpsc/2", Subject: BoostMPMC, AtLeast: true, Bound: 5},
	{Name: "mpmc, beside Boost.Lockfree", Workload: "mpmc/1", Ours: Ours, Beside: "mpmc/1", Subject: BoostMPMC, AtLeast: true, Bound: 5},
	{Name: "two producers that contend, beside Boost.Lockfree", Workload: "contend/65536", Ours: Ours, Beside: "contend/65536", Subject: BoostMPMC, AtLeast: true, Bound: 5},
	{Name: "spinning round trip, beside two bare lines", Workload: "roundtrip", Ours: Ours, Beside: "roundtrip", Subject: Bounce2, Bound: 1.2},
	{Name: "mailbox, beside a bare line", Workload: "mailbox", Ours: Ours, Beside: "mailbox", Subject: Bounce1, Bound: 1.2},
	{Name: "round trip that spins before it sleeps, beside one that spins", Workload: "roundtrip", Ours: OursDoze, Beside: "roundtrip", Subject: Ours, Bound: 2},
	{Name: "round trip asleep, beside a futex", Workload: "sleep", Ours: Ours, Beside: "sleep", Subject: "futex", Bound: 1},
	{Name: "round trip asleep, beside eventfd", Workload: "sleep", Ours: Ours, Beside: "sleep", Subject: "eventfd", Bound: 1},
	{Name: "round trip asleep, beside a pipe", Workload: "sleep", Ours: Ours, Beside: "sleep", Subject: "pipe", Bound: 1},
	{Name: "mutex, beside two compare-and-swaps", Workload: "mutex", Ours: Ours, Beside: "mutex", Subject: "two compare-and-swaps", Bound: 2},
}
