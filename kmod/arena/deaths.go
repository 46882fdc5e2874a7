package arena

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/kmod/bpf"
)

// Deaths is a program at the kernel's exit that writes down which peers have died, before anybody can wait for them. A
// peer enters itself, by ringing a doorbell, so that the kernel knows its process by its own number and not by one of
// a namespace.
//
// The notice is no proof, as a peer could forge it: the byte lock is, which goes a moment later. It makes every
// heap.Watch of the process that runs the News look at once.
//
//	Enter:  entry = process, peer       by the program, on the peer's time
//	exit:   entry.notice = peer         by the program, when the last thread ends
//	        News: Nudge -> Watch looks at the lock -> Recover
type Deaths struct {
	heap    *heap.Heap
	enter   *bpf.Program
	exit    *bpf.Program
	link    *bpf.Link
	entries []deathEntry
}

// deathEntry is one of a table that is searched by the number of the process.
type deathEntry struct {
	Process mem.Word // the kernel's number of it, in the root namespace; 0 is free
	Peer    mem.Word // its heap.PeerID
	Notice  mem.Word // the PeerID that has died last here
	When    mem.Word // of that, CLOCK_MONOTONIC in nanoseconds
}

const (
	deathOrder = 10
	deathSize  = 32
	deathTries = 16 // entries that a process may be at
	deathRoot  = "arena.deaths"
	deathType  = heap.Fingerprint(0x44454154485f7631)

	entryPeer   = 8
	entryNotice = 16
	entryWhen   = 24
)

// NewDeaths loads the programs and attaches them to the kernel's exit. The table is found, or made, under a root of the
// heap. It returns a *bpf.SupportError where that is not allowed, heap.ErrRootType or heap.ErrCorrupt when the root leads to
// something else, and the errors of package alloc.
func NewDeaths(a *alloc.Allocator, n *News) (*Deaths, error) {
	h := a.Heap()
	r, err := Of(h)
	if err != nil {
		return nil, err
	}
	table, err := deathTable(a)
	if err != nil {
		return nil, fmt.Errorf("table of deaths: %w", err)
	}
	d := &Deaths{heap: h, entries: mem.Slice[deathEntry](h.Memory(), table, 1<<deathOrder)}
	if err := d.load(r, table, n); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// deathTable returns where the table is. Any peer may have made the root.
func deathTable(a *alloc.Allocator) (uint64, error) {
	root, err := a.Heap().LoadRoot(deathRoot)
	if errors.Is(err, heap.ErrNoRoot) {
		root, err = makeDeathTable(a)
	}
	switch {
	case err != nil:
		return 0, err
	case root.Type != deathType:
		return 0, fmt.Errorf("root %q: %w", deathRoot, heap.ErrRootType)
	case root.Offset%8 != 0 || !a.Heap().Memory().Contains(root.Offset, deathSize<<deathOrder):
		return 0, fmt.Errorf("root %q leads to %#x: %w", deathRoot, root.Offset, heap.ErrCorrupt)
	}
	return root.Offset, nil
}

func makeDeathTable(a *alloc.Allocator) (heap.Root, error) {
	block, err := alloc.New[[deathSize << deathOrder]byte](a)
	if err != nil {
		return heap.Root{}, err
	}
	off, _ := mem.OffsetOf(a.Heap().Memory(), block)
	root, loaded, err := a.Heap().LoadOrStoreRoot(heap.Root{Name: deathRoot, Offset: off, Type: deathType, TypeName: "deaths"})
	if loaded {
		err = errors.Join(err, alloc.Delete(a, block))
	}
	return root, err
}

func (d *Deaths) load(r *Region, table uint64, n *News) (err error) {
	if d.enter, err = bpf.Load(&bpf.Spec{Name: "shmheap_enter", Type: bpf.Syscall, Code: enterDeath(r, table)}); err != nil {
		return err
	}
	dead, err := groupDead()
	if err != nil {
		return err
	}
	code := noticeDeath(r, table, dead, n)
	if d.exit, err = bpf.Load(&bpf.Spec{Name: "shmheap_exit", Type: bpf.RawTracepoint, Code: code}); err != nil {
		return err
	}
	d.link, err = d.exit.AttachTracepoint("sched_process_exit")
	return err
}

// Enter enters this process as a peer of the heap. Its death is noticed from then on.
func (d *Deaths) Enter() error { return Enter(d.enter, d.heap.Peer()) }

// Program is what Enter runs: a process that has received or opened it enters itself with Enter, without privilege.
func (d *Deaths) Program() *bpf.Program { return d.enter }

// Enter enters this process as a peer with a program that it has received.
func Enter(p *bpf.Program, id heap.PeerID) error {
	context := make([]byte, 8)
	binary.LittleEndian.PutUint64(context, uint64(id))
	full, err := p.Run(context)
	if err == nil && full != 0 {
		err = fmt.Errorf("table of deaths: %w", heap.ErrTooManyPeers)
	}
	return err
}

// Noticed reports whether the death of a peer has been written down, and when, by CLOCK_MONOTONIC in nanoseconds. It is
// what the kernel said unless a peer forged it.
func (d *Deaths) Noticed(id heap.PeerID) (when uint64, ok bool) {
	for i := range d.entries {
		if e := &d.entries[i]; e.Notice.Load() == uint64(id) && id != 0 {
			return e.When.Load(), true
		}
	}
	return 0, false
}

// Close detaches the programs. Heaps are watched as before.
func (d *Deaths) Close() error {
	var errs []error
	if d.link != nil {
		errs = append(errs, d.link.Close())
	}
	for _, p := range []*bpf.Program{d.exit, d.enter} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}

// findProcess is the block that makes R8 lead to the entry of the process in R7: one that has its number or, with free,
// one without a number that it has given its own. It goes to the label none when there is none.
func findProcess(r *Region, table uint64, free bool, none string) []bpf.Instruction {
	code := append(r.Zero(bpf.R5), []bpf.Instruction{
		bpf.Move(bpf.R9, bpf.R7),
		bpf.Mark("find"),
		bpf.OrLeave(none),
		bpf.JumpIfValue(bpf.GreaterEqual, bpf.R5, deathTries, none),
		bpf.ComputeBy(bpf.Add, bpf.R5, 1),
		bpf.ComputeBy(bpf.And, bpf.R9, 1<<deathOrder-1),
		bpf.Move(bpf.R2, bpf.R9),
		bpf.ComputeBy(bpf.Mul, bpf.R2, deathSize),
		bpf.Set64(bpf.R8, r.base+table),
		bpf.Compute(bpf.Add, bpf.R8, bpf.R2),
		bpf.CastKernel(bpf.R8, bpf.R8),
		bpf.ComputeBy(bpf.Add, bpf.R9, 1),
	}...)
	if free {
		code = append(code, bpf.Set32(bpf.R0, 0), bpf.CompareExchange(bpf.Bits64, bpf.R8, 0, bpf.R7),
			bpf.JumpIfValue(bpf.Equal, bpf.R0, 0, "found"), bpf.JumpIf(bpf.Equal, bpf.R0, bpf.R7, "found"))
	} else {
		code = append(code, bpf.LoadFrom(bpf.Bits64, bpf.R0, bpf.R8, 0), bpf.JumpIf(bpf.Equal, bpf.R0, bpf.R7, "found"))
	}
	return append(code, bpf.Jump("find"), bpf.Mark("found"))
}

// enterDeath is the program that enters its caller. Its context is the PeerID.
func enterDeath(r *Region, table uint64) []bpf.Instruction {
	return Program(r.Begin(), []bpf.Instruction{
		bpf.LoadFrom(bpf.Bits64, bpf.R6, bpf.R1, 0),
		bpf.Call(bpf.HelperPidTgid),
		bpf.Move(bpf.R7, bpf.R0),
		bpf.ComputeBy(bpf.Rsh, bpf.R7, 32),
	}, findProcess(r, table, true, "none"), []bpf.Instruction{
		bpf.Exchange(bpf.Bits64, bpf.R8, entryPeer, bpf.R6),
	}, Return(0), []bpf.Instruction{bpf.Mark("none")}, Return(1))
}

// dying is how a program at the exit finds out whether it is the process's last.
type dying struct{ signal, live int32 } // offsets of task_struct.signal and signal_struct.live

func groupDead() (dying, error) {
	k, err := bpf.RunningKernel()
	if err != nil {
		return dying{}, err
	}
	signal, err := k.Field("task_struct", "signal")
	if err != nil {
		return dying{}, err
	}
	live, err := k.Field("signal_struct", "live")
	return dying{signal, live}, err
}

// noticeDeath is the program at the exit. The kernel has counted the thread out by then, so that no thread of a process whose
// count is 0 will run another instruction of it.
func noticeDeath(r *Region, table uint64, d dying, n *News) []bpf.Instruction {
	code := Program(r.Begin(), []bpf.Instruction{
		bpf.LoadFrom(bpf.Bits64, bpf.R6, bpf.R1, 0), // the task
		bpf.Call(bpf.HelperPidTgid),
		bpf.Move(bpf.R7, bpf.R0),
		bpf.ComputeBy(bpf.Rsh, bpf.R7, 32),
	}, findProcess(r, table, false, "end"), readKernel(bpf.R6, d.signal, 8), []bpf.Instruction{
		bpf.LoadFrom(bpf.Bits64, bpf.R6, bpf.R10, -8),
	}, readKernel(bpf.R6, d.live, 4), []bpf.Instruction{
		bpf.LoadFrom(bpf.Bits32, bpf.R1, bpf.R10, -8),
		bpf.JumpIfValue(bpf.NotEqual, bpf.R1, 0, "end"),
		bpf.Call(bpf.HelperKtime),
		bpf.StoreTo(bpf.Bits64, bpf.R8, entryWhen, bpf.R0),
		bpf.LoadFrom(bpf.Bits64, bpf.R6, bpf.R8, entryPeer),
		bpf.Move(bpf.R1, bpf.R6),
		bpf.Exchange(bpf.Bits64, bpf.R8, entryNotice, bpf.R1),
		bpf.Set32(bpf.R1, 0),
		bpf.Exchange(bpf.Bits64, bpf.R8, 0, bpf.R1), // the entry is free
		bpf.Move(bpf.R1, bpf.R6),
	})
	if n != nil {
		code = append(code, n.Tell(newsDeath)...)
	}
	return Program(code, []bpf.Instruction{bpf.Mark("end")}, Return(0))
}

// readKernel copies n bytes of the kernel at an offset from a pointer to the stack at R10 - 8.
func readKernel(from bpf.Register, offset, n int32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.SetTo(bpf.Bits64, bpf.R10, -8, 0),
		bpf.Move(bpf.R1, bpf.R10),
		bpf.ComputeBy(bpf.Add, bpf.R1, -8),
		bpf.Set32(bpf.R2, n),
		bpf.Move(bpf.R3, from),
		bpf.ComputeBy(bpf.Add, bpf.R3, offset),
		bpf.Call(bpf.HelperReadKernel),
	}
}
