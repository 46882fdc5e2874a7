// Command workers has jobs done by processes, one of which is killed at its work. Every job is done exactly once all
// the same: what the dead process had in hand goes to another.
//
//	go run ./examples/workers
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/queue"
)

const (
	name    = "example-workers"
	jobs    = 200
	workers = 3
)

// Job is a block of the heap. A job that was begun by a process that died is done anew, so doing one twice must do no
// harm: only the last send counts.
type Job struct {
	Number uint64
	Square uint64
	By     uint64 // process that did it
}

func main() {
	work := supervise
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		work = worker
	}
	if err := work(); err != nil {
		log.Fatal(err)
	}
}

// office is what supervisor and workers have in common.
type office struct {
	heap       *heap.Heap
	hands      *queue.Hands
	hand       *queue.Hand
	todo, done *queue.Port
	queue      *queue.Queue
}

// enter opens what lies in the heap, and makes what is missing.
func enter(h *heap.Heap) (*office, error) {
	a, err := alloc.Open(h)
	if err != nil {
		return nil, err
	}
	o := &office{heap: h}
	if o.hands, err = queue.OpenHands(a, "hands", 0); err != nil {
		return nil, err
	}
	options := &queue.Options{Capacity: jobs, Hands: o.hands}
	if o.queue, err = queue.Open(a, "todo", options); err != nil {
		return nil, err
	}
	done, err := queue.Open(a, "done", options)
	if err != nil {
		return nil, err
	}
	if o.hand, err = o.hands.Hand(); err != nil {
		return nil, err
	}
	if o.todo, err = o.hand.Port(o.queue); err != nil {
		return nil, err
	}
	o.done, err = o.hand.Port(done)
	return o, err
}

// job returns the job at an offset that came through a queue. It is checked: any process may have written it.
func (o *office) job(offset uint64) (*Job, error) { return queue.Pointer[Job](o.queue, offset) }

// worker does jobs until it is killed, or the supervisor closes the queue.
func worker() (err error) {
	h, err := heap.Open(name, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	o, err := enter(h)
	if err != nil {
		return err
	}
	for {
		offset, err := o.todo.Receive(context.Background())
		if errors.Is(err, queue.ErrClosed) {
			return o.hand.Close()
		}
		if err != nil {
			return err
		}
		job, err := o.job(offset)
		if err != nil {
			return err
		}
		time.Sleep(2 * time.Millisecond) // hard work
		job.Square, job.By = job.Number*job.Number, uint64(os.Getpid())
		if err := o.done.Send(context.Background()); err != nil {
			return err
		}
	}
}

// supervise gives out the jobs, kills a worker, and counts.
func supervise() (err error) {
	h, err := heap.Create(name, &heap.Options{Size: 64 << 20})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close(), heap.Remove(name, nil)) }()
	o, err := enter(h)
	if err != nil {
		return err
	}
	for n := range uint64(jobs) {
		if err := o.give(n); err != nil {
			return err
		}
	}
	staff, err := hire()
	if err != nil {
		return err
	}
	seen, err := o.collect(staff[0])
	if err != nil {
		return err
	}
	o.queue.Close()
	for _, w := range staff[1:] {
		err = errors.Join(err, w.Wait())
	}
	for n := range uint64(jobs) {
		if seen[n] != 1 {
			err = errors.Join(err, fmt.Errorf("job %d was done %d times", n, seen[n]))
		}
	}
	if err == nil {
		fmt.Printf("%d jobs, each done once, though a worker was killed\n", jobs)
	}
	return err
}

// give makes a job and sends it: killed anywhere in between, the block is sent or free.
func (o *office) give(number uint64) error {
	offset, err := o.hand.Make(24)
	if err != nil {
		return err
	}
	job, err := o.job(offset)
	if err != nil {
		return err
	}
	job.Number = number
	return o.todo.Send(context.Background())
}

// hire starts the workers.
func hire() (staff []*exec.Cmd, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	for range workers {
		w := exec.Command(self, "worker")
		w.Stderr = os.Stderr
		if err := w.Start(); err != nil {
			return staff, err
		}
		staff = append(staff, w)
	}
	return staff, nil
}

// collect receives the jobs that are done, kills the victim half way, and returns how often each was done.
func (o *office) collect(victim *exec.Cmd) (map[uint64]int, error) {
	seen := make(map[uint64]int)
	for n := range jobs {
		if n == jobs/2 {
			if err := victim.Process.Kill(); err != nil {
				return nil, err
			}
			_ = victim.Wait() // killed: that is no news. A worker may be recovering what it held
			if _, err := o.hands.Recover(); err != nil && !errors.Is(err, heap.ErrBusy) {
				return nil, err
			}
		}
		offset, err := o.done.Receive(context.Background())
		if err != nil {
			return nil, err
		}
		job, err := o.job(offset)
		if err != nil {
			return nil, err
		}
		if job.Square != job.Number*job.Number {
			return nil, fmt.Errorf("the square of %d is not %d", job.Number, job.Square)
		}
		seen[job.Number]++
		if err := o.hand.Free(); err != nil {
			return nil, err
		}
	}
	return seen, nil
}
