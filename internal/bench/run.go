package bench

import (
	"time"

	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// run is what a loop needs besides its source: who it is, its sizes, its fellows, and when to stop.
type run struct {
	worker  uint64
	sizes   *[sizeCount]uint32
	memory  mem.Memory
	board   *board
	inbox   *ring // from the worker before
	outbox  *ring // to the next
	limit   time.Duration
	rng     uint64
	begun   time.Time
	ops     uint64
	seconds float64
	lost    float64 // seconds of those in which others had the processor
	spins   uint64

	meetings uint64
	waited   time.Duration
	watch    *stopwatch // of a timed run
}

const (
	sizeMask   = sizeCount - 1
	batch      = 1024   // steps between two looks at the time
	burst      = 10_000 // blocks of fill and drain
	listLength = 1000   // nodes
)

// meet waits until all workers have come here as often as this one.
func (r *run) meet() {
	r.meetings++
	r.board.ready.Add(1)
	for r.board.ready.Load() < r.meetings*r.board.workers {
		sys.Yield()
	}
}

// begin ends the set-up: all workers begin together.
func (r *run) begin() {
	r.meet()
	r.watch.count(true)
	r.waited = sys.Delayed()
	r.begun = time.Now()
}

// over reports whether it is time to stop.
func (r *run) over() bool { return time.Since(r.begun) >= r.limit }

// idle is for loops that wait for another worker. It reports whether to give up.
func (r *run) idle() bool {
	r.spins++
	if r.spins%1024 == 0 {
		sys.Yield()
	}
	return r.spins%64 == 0 && r.over()
}

// end stops the clock: what the loop does from here on is cleaning.
func (r *run) end(ops uint64) {
	r.seconds = time.Since(r.begun).Seconds()
	r.lost = (sys.Delayed() - r.waited).Seconds()
	r.ops = ops
	r.watch.count(false)
}

// stop says that this worker hands nothing over any more, and waits until none does.
func (r *run) stop() {
	r.board.stopped.Add(1)
	for !r.stoppedAll() {
		sys.Yield()
	}
}

func (r *run) stoppedAll() bool { return r.board.stopped.Load() >= r.board.workers }

// random is Marsaglia's xorshift with the shifts 13, 7 and 17.
func (r *run) random() uint64 {
	x := r.rng
	x ^= x << 13
	x ^= x >> 7
	x ^= x << 17
	r.rng = x
	return x
}
