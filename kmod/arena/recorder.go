package arena

import (
	"errors"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/kmod/bpf"
	"github.com/shmheap/shmheap/queue"
)

// Event is what a Recorder writes down. The events are a list of raw pointers, newest first.
type Event struct {
	Next    *Event   // nil at the end
	When    uint64   // CLOCK_MONOTONIC in nanoseconds
	Process uint64   // process in the upper half, thread in the lower one, by the kernel's numbers
	Name    [16]byte // of the thread, as /proc/PID/comm has it
}

// Offsets of an Event's fields.
const (
	eventNext    = 0
	eventWhen    = 8
	eventProcess = 16
	eventName    = 24
	nameSize     = 16
)

// Log is where events go: the root of a Recorder's list, in the heap.
type Log struct {
	First    *Event // changed by compare-and-swap by programs; who takes the whole list swaps it for nil
	Recorded uint64 // events in the list so far
	Missed   uint64 // events for which there was no blank
}

// Offsets of a Log's fields.
const (
	logFirst    = 0
	logRecorded = 8
	logMissed   = 16
)

// Recorder is a program at a tracepoint that writes down each time the kernel comes there, in blocks of the heap: no copy is
// made, and any number of processes read the same events by following pointers. Programs cannot allocate, so they take
// blanks, blocks of the size of an Event, from a queue that some process keeps filled.
type Recorder struct {
	blanks  *Queue
	program *bpf.Program
	link    *bpf.Link
}

// NewRecorder attaches a recorder to a raw tracepoint, such as sched_process_exec. log is the offset of a Log. The errors
// are those of Consumer, bpf.Load, and Program.AttachTracepoint.
func NewRecorder(h *heap.Heap, tracepoint string, blanks *queue.Queue, log uint64) (*Recorder, error) {
	in, err := Consumer(h, blanks, nil)
	if err != nil {
		return nil, err
	}
	r := &Recorder{blanks: in}
	code := record(in.region, in, log)
	if r.program, err = bpf.Load(&bpf.Spec{Name: "shmheap_record", Type: bpf.RawTracepoint, Code: code}); err == nil {
		r.link, err = r.program.AttachTracepoint(tracepoint)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func record(r *Region, blanks *Queue, log uint64) []bpf.Instruction {
	return Program(r.Begin(), blanks.Pop("blank"), []bpf.Instruction{
		bpf.JumpIfValue(bpf.Equal, bpf.R7, 0, "missed"),
		bpf.Set64(bpf.R1, r.base),
		bpf.Compute(bpf.Add, bpf.R7, bpf.R1), // an address from here on
		bpf.CastKernel(bpf.R6, bpf.R7),
		bpf.Call(bpf.HelperKtime),
		bpf.StoreTo(bpf.Bits64, bpf.R6, eventWhen, bpf.R0),
		bpf.Call(bpf.HelperPidTgid),
		bpf.StoreTo(bpf.Bits64, bpf.R6, eventProcess, bpf.R0),
		bpf.SetTo(bpf.Bits64, bpf.R10, -16, 0),
		bpf.SetTo(bpf.Bits64, bpf.R10, -8, 0),
		bpf.Move(bpf.R1, bpf.R10),
		bpf.ComputeBy(bpf.Add, bpf.R1, -nameSize),
		bpf.Set32(bpf.R2, nameSize),
		bpf.Call(bpf.HelperComm),
		bpf.LoadFrom(bpf.Bits64, bpf.R1, bpf.R10, -16),
		bpf.StoreTo(bpf.Bits64, bpf.R6, eventName, bpf.R1),
		bpf.LoadFrom(bpf.Bits64, bpf.R1, bpf.R10, -8),
		bpf.StoreTo(bpf.Bits64, bpf.R6, eventName+8, bpf.R1),
	}, r.Link("link", log+logFirst, eventNext), []bpf.Instruction{
		bpf.JumpIfValue(bpf.Equal, bpf.R0, 0, "missed"), // the blank is lost with it, and Missed tells
	}, r.Count(log+logRecorded), Return(0), []bpf.Instruction{bpf.Mark("missed")}, r.Count(log+logMissed), Return(0))
}

// Close detaches the recorder. What it has recorded stays.
func (r *Recorder) Close() error {
	var errs []error
	if r.link != nil {
		errs = append(errs, r.link.Close())
	}
	if r.program != nil {
		errs = append(errs, r.program.Close())
	}
	return errors.Join(append(errs, r.blanks.Close())...)
}
