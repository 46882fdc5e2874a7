package arena

import (
	"encoding/binary"
	"errors"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/kmod/bpf"
	"github.com/shmheap/shmheap/queue"
)

// Command is what a Server is sent: the queue's elements lead to blocks that begin with one. The server fills in
// Result and Count and sends the same block to the replies.
type Command struct {
	Verb     uint64 // what to do
	Argument uint64 // as the verb says
	Result   uint64 // likewise
	Count    uint64 // likewise
}

// Verbs of a Command.
const (
	VerbEcho    = 1 // Result is Argument + 1
	VerbSum     = 2 // Argument is the address of a list: Result is the sum of its values, Count its length
	VerbReverse = 3 // the same: Result is the address of the list turned round
	// VerbRead makes Result the word that Argument leads to.
	VerbRead = 4
)

// Element is an element of the lists that VerbSum and VerbReverse work on: with raw pointers, 0 at the end.
type Element struct {
	Next  *Element // nil at the end
	Value uint64   // summed up
}

// longest is how many elements of a list are visited.
const longest = 1 << 20

// Server is a program that takes commands from one queue and sends replies to another, both in the heap. It runs on the
// time of who calls Serve, which is a system call: a doorbell. Any number of processes and goroutines may ring it.
type Server struct {
	program  *bpf.Program
	commands *Queue
	replies  *Queue
}

// NewServer loads a server. Sleeping consumers of the replies are woken through the news, nil for none. The errors are
// those of Consumer and bpf.Load.
func NewServer(h *heap.Heap, commands, replies *queue.Queue, n *News) (*Server, error) {
	in, err := Consumer(h, commands, n)
	if err != nil {
		return nil, err
	}
	out, err := Producer(h, replies, n)
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	p, err := bpf.Load(&bpf.Spec{Name: "shmheap_server", Type: bpf.Syscall, Code: serve(in, out)})
	if err != nil {
		return nil, errors.Join(err, in.Close(), out.Close())
	}
	return &Server{p, in, out}, nil
}

// Stack slots of the server.
const (
	slotLeft   = -24 // commands that may still be served
	slotServed = -32
	slotBlock  = -40 // offset of the command at hand
	slotLost   = -48 // replies that found the queue full
)

// serve is the program. Its context is how many commands to serve at most, then what came of it: served, lost.
func serve(in, out *Queue) []bpf.Instruction {
	r := in.region
	return Program(r.Begin(), []bpf.Instruction{
		bpf.StoreTo(bpf.Bits64, bpf.R10, -56, bpf.R1),
		bpf.LoadFrom(bpf.Bits64, bpf.R2, bpf.R1, 0),
		bpf.StoreTo(bpf.Bits64, bpf.R10, slotLeft, bpf.R2),
		bpf.SetTo(bpf.Bits64, bpf.R10, slotServed, 0),
		bpf.SetTo(bpf.Bits64, bpf.R10, slotLost, 0),
		bpf.Mark("command"),
		bpf.OrLeave("done"),
		bpf.LoadFrom(bpf.Bits64, bpf.R1, bpf.R10, slotLeft),
		bpf.JumpIfValue(bpf.Equal, bpf.R1, 0, "done"),
		bpf.ComputeBy(bpf.Sub, bpf.R1, 1),
		bpf.StoreTo(bpf.Bits64, bpf.R10, slotLeft, bpf.R1),
	}, in.Pop("pop"), []bpf.Instruction{
		bpf.JumpIfValue(bpf.Equal, bpf.R7, 0, "done"),
		bpf.StoreTo(bpf.Bits64, bpf.R10, slotBlock, bpf.R7),
	}, r.verbs(), []bpf.Instruction{
		bpf.LoadFrom(bpf.Bits64, bpf.R7, bpf.R10, slotBlock),
	}, out.Push("push"), []bpf.Instruction{
		bpf.JumpIfValue(bpf.Equal, bpf.R0, Pushed, "pushed"),
		bpf.LoadFrom(bpf.Bits64, bpf.R1, bpf.R10, slotLost),
		bpf.ComputeBy(bpf.Add, bpf.R1, 1),
		bpf.StoreTo(bpf.Bits64, bpf.R10, slotLost, bpf.R1),
		bpf.Mark("pushed"),
		bpf.LoadFrom(bpf.Bits64, bpf.R1, bpf.R10, slotServed),
		bpf.ComputeBy(bpf.Add, bpf.R1, 1),
		bpf.StoreTo(bpf.Bits64, bpf.R10, slotServed, bpf.R1),
		bpf.Jump("command"),
		bpf.Mark("done"),
		bpf.LoadFrom(bpf.Bits64, bpf.R1, bpf.R10, -56),
		bpf.LoadFrom(bpf.Bits64, bpf.R2, bpf.R10, slotServed),
		bpf.StoreTo(bpf.Bits64, bpf.R1, 8, bpf.R2),
		bpf.LoadFrom(bpf.Bits64, bpf.R2, bpf.R10, slotLost),
		bpf.StoreTo(bpf.Bits64, bpf.R1, 16, bpf.R2),
	}, Return(0))
}

// Offsets of a Command's fields.
const (
	commandVerb     = 0
	commandArgument = 8
	commandResult   = 16
	commandCount    = 24
)

// verbs does what the command at the offset in R7 asks for. Each number is loaded once: it may change under its hands.
func (r *Region) verbs() []bpf.Instruction {
	return Program([]bpf.Instruction{
		bpf.Set64(bpf.R8, r.base),
		bpf.Compute(bpf.Add, bpf.R8, bpf.R7),
		bpf.CastKernel(bpf.R8, bpf.R8),
		bpf.LoadFrom(bpf.Bits64, bpf.R2, bpf.R8, commandVerb),
		bpf.LoadFrom(bpf.Bits64, bpf.R1, bpf.R8, commandArgument),
		bpf.Set32(bpf.R6, 0),
		bpf.Set32(bpf.R7, 0),
		bpf.JumpIfValue(bpf.Equal, bpf.R2, VerbEcho, "echo"),
		bpf.JumpIfValue(bpf.Equal, bpf.R2, VerbSum, "sum"),
		bpf.JumpIfValue(bpf.Equal, bpf.R2, VerbReverse, "reverse"),
		bpf.JumpIfValue(bpf.Equal, bpf.R2, VerbRead, "read"),
		bpf.Jump("answer"),
		bpf.Mark("echo"),
		bpf.Move(bpf.R7, bpf.R1),
		bpf.ComputeBy(bpf.Add, bpf.R7, 1),
		bpf.Jump("answer"),
		bpf.Mark("read"),
		bpf.CastKernel(bpf.R2, bpf.R1),
		bpf.LoadFrom(bpf.Bits64, bpf.R7, bpf.R2, 0),
		bpf.Jump("answer"),
		bpf.Mark("sum"),
	}, r.Walk("walk", 0, 8, longest), []bpf.Instruction{
		bpf.Jump("answer"),
		bpf.Mark("reverse"),
	}, r.Reverse("turn", 0, longest), []bpf.Instruction{
		bpf.Mark("answer"),
		bpf.StoreTo(bpf.Bits64, bpf.R8, commandResult, bpf.R7),
		bpf.StoreTo(bpf.Bits64, bpf.R8, commandCount, bpf.R6),
	})
}

// Serve serves at most so many commands and returns how many it has served, and how many of their replies found the queue
// full or closed and are lost: blocks that the caller knows and may use again.
func (s *Server) Serve(most uint64) (served, lost uint64, err error) {
	context := make([]byte, 24)
	binary.LittleEndian.PutUint64(context, most)
	if _, err := s.program.Run(context); err != nil {
		return 0, 0, err
	}
	return binary.LittleEndian.Uint64(context[8:]), binary.LittleEndian.Uint64(context[16:]), nil
}

// Program is the program, to be pinned or sent to others: its context has three words, most, served and lost.
func (s *Server) Program() *bpf.Program { return s.program }

// Close takes the server down.
func (s *Server) Close() error {
	return errors.Join(s.program.Close(), s.commands.Close(), s.replies.Close())
}
