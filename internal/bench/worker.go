package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// boardRoot is the name of the root that leads to the board.
const boardRoot = "bench"

// Job says what one process does: one worker of ours, or all workers of a peer.
type Job struct {
	Subject string // what it allocates from
	Loop    string
	Sizes   string
	Workers int
	Worker  int // which one; of a peer, all
	Time    time.Duration
	Timed   bool  // measure each call
	CPUs    []int // where the workers run, nothing: anywhere
}

// Args are the job as arguments of a program; ParseJob is the inverse, and peers/main.h reads the same.
func (j *Job) Args() []string {
	var cpus []string
	for _, cpu := range j.CPUs {
		cpus = append(cpus, strconv.Itoa(cpu))
	}
	timed := "0"
	if j.Timed {
		timed = "1"
	}
	return []string{j.Subject, j.Loop, j.Sizes, strconv.Itoa(j.Workers), strconv.Itoa(j.Worker),
		strconv.FormatInt(j.Time.Nanoseconds(), 10), timed, "," + strings.Join(cpus, ",")}
}

// ParseJob reads the arguments that Args made.
func ParseJob(args []string) (*Job, error) {
	if len(args) != 8 {
		return nil, fmt.Errorf("%w: %q", errJob, args)
	}
	j := &Job{Subject: args[0], Loop: args[1], Sizes: args[2], Timed: args[6] == "1"}
	workers, e1 := strconv.Atoi(args[3])
	worker, e2 := strconv.Atoi(args[4])
	ns, e3 := strconv.ParseInt(args[5], 10, 64)
	if err := errors.Join(e1, e2, e3); err != nil || workers < 1 || workers > maxWorkers || worker < 0 || worker >= workers {
		return nil, fmt.Errorf("%w: %q", errJob, args)
	}
	j.Workers, j.Worker, j.Time = workers, worker, time.Duration(ns)
	for _, text := range strings.Split(args[7], ",") {
		if cpu, err := strconv.Atoi(text); err == nil {
			j.CPUs = append(j.CPUs, cpu)
		}
	}
	return j, nil
}

var errJob = errors.New("not the arguments of a worker")

// result is the line that a worker prints.
type result struct {
	Ops     uint64      `json:"ops"`
	Seconds float64     `json:"seconds"`
	Lost    float64     `json:"lost"`    // seconds of those in which others had the processor
	Sizes   uint64      `json:"sizes"`   // checksum of the table
	TickNS  float64     `json:"tick_ns"` // nanoseconds of a tick
	Clock   uint64      `json:"clock"`   // ticks that reading the clock costs
	Alloc   [][2]uint64 `json:"alloc"`
	Free    [][2]uint64 `json:"free"`
	Version string      `json:"version,omitempty"` // of the allocator, as it says itself
	Library string      `json:"library,omitempty"` // file that malloc comes from

	Steady steadyResult `json:"steady"` // of the loop steady
}

// steadyResult is in bytes.
type steadyResult struct {
	Requested uint64 `json:"requested"`
	Peak      uint64 `json:"peak"`
	Resident  uint64 `json:"resident"`
}

// Work is the body of a worker process: it attaches to the heap of that name, unless the subject is Go's
// own memory, does its job together with its fellows and prints the result. Whoever calls it must end the
// process when its parent is gone.
func Work(job *Job, name string, opts *heap.Options, out io.Writer) error {
	if job.Subject == SubjectGo {
		return workInGo(job, json.NewEncoder(out))
	}
	h, err := heap.Open(name, opts)
	if err != nil {
		return err
	}
	if job.Loop == loopHold {
		return errors.Join(hold(h, out), h.Close())
	}
	r, err := workInHeap(job, h)
	if err = errors.Join(err, h.Close()); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}

func workInHeap(job *Job, h *heap.Heap) (*result, error) {
	root, err := h.LoadRoot(boardRoot)
	if err != nil {
		return nil, err
	}
	a, err := alloc.Open(h)
	if err != nil {
		return nil, err
	}
	var src untimed = a
	if job.Subject == SubjectCache {
		c, err := a.NewCache()
		if err != nil {
			return nil, err
		}
		src = c
	}
	r, err := measure(job, src, h.Memory(), root.Offset)
	return r, errors.Join(err, a.Close())
}

// workInGo does the work of all workers, each in a goroutine.
func workInGo(job *Job, out *json.Encoder) error {
	size := boardSize(uint64(job.Workers))
	board := mem.Over(make([]byte, size+128))
	at := -uint64(board.Base()) % 128
	results, errs := make([]*result, job.Workers), make([]error, job.Workers)
	var wait sync.WaitGroup
	for i := range job.Workers {
		mine := *job
		mine.Worker = i
		wait.Go(func() { results[i], errs[i] = measure(&mine, new(garbage), board, at) })
	}
	wait.Wait()
	for _, r := range results {
		errs = append(errs, out.Encode(r))
	}
	return errors.Join(errs...)
}

// measure runs the job's loop over a source.
func measure(job *Job, src untimed, m mem.Memory, boardAt uint64) (*result, error) {
	sizes, err := newSizes(job.Sizes, uint64(job.Worker)+1)
	if err != nil {
		return nil, err
	}
	if len(job.CPUs) > 0 {
		if err := sys.Pin(job.CPUs[job.Worker%len(job.CPUs)]); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return nil, err
		}
	}
	b := newBoard(m, boardAt, uint64(job.Workers))
	r := &run{
		worker: uint64(job.Worker), sizes: sizes, memory: m, board: b,
		inbox: b.ring(uint64(job.Worker)), outbox: b.ring(uint64(job.Worker + 1)),
		limit: job.Time, rng: uint64(job.Worker) + 1,
	}
	if job.Timed {
		return r.timed(job.Loop, newStopwatch(src))
	}
	if err := r.do(job.Loop, src); err != nil {
		return nil, err
	}
	return &result{Ops: r.ops, Seconds: r.seconds, Lost: r.lost, Sizes: checksum(sizes)}, nil
}

func (r *run) do(loop string, src untimed) error {
	f := loopsOf(r, src)[loop]
	if loop == loopEmpty {
		f = r.empty
	}
	if f == nil {
		return fmt.Errorf("no loop %q", loop)
	}
	return f()
}

// timed runs a loop over a stopwatch. How long a tick is it finds out meanwhile.
func (r *run) timed(loop string, s *stopwatch) (*result, error) {
	cost := clockCost()
	r.watch = s
	from, ticks := time.Now(), sys.Ticks()
	if err := r.do(loop, s); err != nil {
		return nil, err
	}
	ticks, ns := sys.Ticks()-ticks, float64(time.Since(from))
	return &result{
		Ops: r.ops, Seconds: r.seconds, Lost: r.lost, Sizes: checksum(r.sizes),
		TickNS: ns / float64(ticks), Clock: cost,
		Alloc: s.alloc.sparse(), Free: s.free.sparse(),
	}, nil
}

// add sums up the results of the workers of one run. Operations that overlap in time add their rates.
func (o *Outcome) add(r *result) error {
	alloc, err := newHistogram(r.Alloc)
	if err != nil {
		return err
	}
	free, err := newHistogram(r.Free)
	if err != nil {
		return err
	}
	if r.Seconds > 0 {
		o.Rate += float64(r.Ops) / max(r.Seconds-r.Lost, r.Seconds/20)
	}
	o.Seconds, o.Lost = o.Seconds+r.Seconds, o.Lost+r.Lost
	o.Ops += r.Ops
	o.sizes = append(o.sizes, r.Sizes)
	o.steady = r.Steady
	o.alloc.Merge(alloc)
	o.free.Merge(free)
	if r.TickNS > 0 {
		o.tickNS, o.clock = r.TickNS, float64(r.Clock)
	}
	if r.Version != "" {
		o.version, o.library = r.Version, r.Library
	}
	return nil
}

// Outcome is what one run of a workload by a subject gave.
type Outcome struct {
	Ops           uint64
	Rate          float64 // operations a second, of all workers together
	Seconds, Lost float64 // of all workers; lost is when they were ready and others had their processor
	alloc, free   Histogram
	tickNS, clock float64
	sizes         []uint64
	steady        steadyResult
	version       string
	library       string
}

// latency returns a quantile in nanoseconds, less the cost of the clock.
func (o *Outcome) latency(h *Histogram, q float64) float64 {
	return max(0, h.Quantile(q)-o.clock) * o.tickNS
}

// quantiles are those that are reported.
var quantiles = [...]float64{0.5, 0.99, 0.999}
