package queuebench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// Job is what one process of ours does.
type Job struct {
	Name      string
	Parameter int
	Count     int
	Worker    int // 0 measures
	Workers   int
	Board     uint64 // offset of the words by which workers meet
	CPU       int    // to run on, -1 for any
	RealTime  bool
}

// Args returns the job as arguments for ParseJob.
func (j *Job) Args() []string {
	return []string{j.Name, strconv.Itoa(j.Parameter), strconv.Itoa(j.Count), strconv.Itoa(j.Worker), strconv.Itoa(j.Workers),
		strconv.FormatUint(j.Board, 10), strconv.Itoa(j.CPU), strconv.FormatBool(j.RealTime)}
}

// ParseJob reads what Args has written.
func ParseJob(args []string) (*Job, error) {
	if len(args) != 8 {
		return nil, errors.New("a job has eight parts")
	}
	j := &Job{Name: args[0]}
	var errs []error
	for i, to := range map[int]*int{1: &j.Parameter, 2: &j.Count, 3: &j.Worker, 4: &j.Workers, 6: &j.CPU} {
		n, err := strconv.Atoi(args[i])
		*to, errs = n, append(errs, err)
	}
	var err error
	j.Board, err = strconv.ParseUint(args[5], 10, 64)
	errs = append(errs, err)
	j.RealTime, err = strconv.ParseBool(args[7])
	return j, errors.Join(append(errs, err)...)
}

// result is what the process that measures prints.
type result struct {
	Ops int   `json:"ops"`
	NS  int64 `json:"ns"`
}

// worker is a process at its job.
type worker struct {
	*Job
	heap  *heap.Heap
	alloc *alloc.Allocator
	ready *mem.Word
	first uint64 // an offset that may be an element

	// A job that measures for itself, as not all of what it does counts.
	took     time.Duration
	rounds   int
	meetings uint64
}

// Work does the job in the heap of that name. Worker 0 prints a result to out.
func Work(j *Job, name string, o *heap.Options, out io.Writer) error {
	h, err := heap.Open(name, o)
	if err != nil {
		return err
	}
	defer h.Close()
	a, err := alloc.Open(h)
	if err != nil {
		return err
	}
	w := &worker{Job: j, heap: h, alloc: a, first: h.Geometry().Sections.Data}
	if !h.Memory().Contains(j.Board, 8) {
		return fmt.Errorf("no board at %#x", j.Board)
	}
	w.ready = h.Memory().Word(j.Board)
	prepare, ok := jobs[j.Name]
	if !ok {
		return fmt.Errorf("no job %q", j.Name)
	}
	loop, err := prepare(w)
	if err != nil {
		return err
	}
	took, err := w.measure(loop)
	if err != nil || j.Worker != 0 {
		return err
	}
	return json.NewEncoder(out).Encode(result{Ops: j.Count, NS: took.Nanoseconds()})
}

// measure meets the other workers and runs the loop.
func (w *worker) measure(loop func() error) (time.Duration, error) {
	runtime.LockOSThread()
	if w.CPU >= 0 {
		if err := sys.Pin(w.CPU); err != nil {
			return 0, err
		}
	}
	w.ready.Add(1)
	for w.ready.Load() < uint64(w.Workers) {
		sys.Yield()
	}
	if w.RealTime {
		if err := sys.RealTime(5 * time.Second); err != nil {
			return 0, err
		}
	}
	begin := time.Now()
	err := loop()
	took := time.Since(begin)
	if w.rounds > 0 {
		took = w.took
	}
	if w.RealTime {
		err = errors.Join(err, sys.NormalTime())
	}
	return took, err
}
