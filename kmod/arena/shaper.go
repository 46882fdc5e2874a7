package arena

import (
	"errors"
	"fmt"
	"os"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/kmod/bpf"
)

// Shape is how a Shaper is steered, in the heap: by stores, without a system call. Any number of processes may
// look and steer.
type Shape struct {
	Rate    mem.Word // bytes that may pass in a second: 0 for none, NoLimit for all
	Burst   mem.Word // bytes that may pass at once after a pause
	Passed  mem.Word // packets, counted by the program
	Dropped mem.Word // likewise
	Bytes   mem.Word // of the packets that passed
	Tokens  mem.Word // the program's: bytes that may pass now
	Last    mem.Word // the program's: when Tokens was last filled up
	_       [72]byte // a line of its own
}

// NoLimit is the Rate at which everything passes.
const NoLimit = 1<<64 - 1

// Offsets of a Shape's fields.
const (
	shapeRate    = 0
	shapeBurst   = 8
	shapePassed  = 16
	shapeDropped = 24
	shapeBytes   = 32
	shapeTokens  = 40
	shapeLast    = 48
)

// Shaper is a token bucket for packets: of a control group, or of a network interface. Its rate is a word of the heap.
type Shaper struct {
	program *bpf.Program
	link    *bpf.Link
}

// NewCgroupShaper shapes what the processes of a control group send; dir is its directory in the unified hierarchy,
// and shape the offset of a Shape. It returns ErrHeap, and the errors of bpf.Load and bpf.Program.AttachCgroup.
func NewCgroupShaper(h *heap.Heap, dir string, shape uint64) (*Shaper, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const pass, drop = 1, 0
	return newShaper(h, bpf.CgroupPackets, shape, pass, drop, func(p *bpf.Program) (*bpf.Link, error) {
		return p.AttachCgroup(f, bpf.AttachCgroupEgress)
	})
}

// NewInterfaceShaper shapes what leaves through a network interface (tcx, Linux 6.6). See NewCgroupShaper.
func NewInterfaceShaper(h *heap.Heap, index int, shape uint64) (*Shaper, error) {
	const pass, drop = -1, 2 // TCX_NEXT, TCX_DROP
	return newShaper(h, bpf.Classifier, shape, pass, drop, func(p *bpf.Program) (*bpf.Link, error) {
		return p.AttachInterface(index, bpf.AttachTCXEgress)
	})
}

func newShaper(h *heap.Heap, kind bpf.Type, shape uint64, pass, drop int32, attach func(*bpf.Program) (*bpf.Link, error)) (*Shaper, error) {
	r, err := Of(h)
	if err != nil {
		return nil, err
	}
	if !h.Memory().Contains(shape, 128) || shape%8 != 0 {
		return nil, fmt.Errorf("shape at %#x: %w", shape, heap.ErrOffset)
	}
	p, err := bpf.Load(&bpf.Spec{Name: "shmheap_shape", Type: kind, Code: shapePackets(r, shape, pass, drop)})
	if err != nil {
		return nil, err
	}
	link, err := attach(p)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return &Shaper{p, link}, nil
}

// shapePackets is the program. R6 is the length of the packet, R7 leads to the Shape. Two processors that fill the bucket at
// once both see the time that has passed, and one of them, by compare-and-swap of Last, adds it.
func shapePackets(r *Region, shape uint64, pass, drop int32) []bpf.Instruction {
	const skbLength = 0   // __sk_buff.len
	const perSecond = 1e9 // nanoseconds
	return Program(r.Begin(), []bpf.Instruction{bpf.LoadFrom(bpf.Bits32, bpf.R6, bpf.R1, skbLength)},
		r.Read(bpf.R8, bpf.R7, shape+shapeRate), []bpf.Instruction{
			bpf.JumpIfValue(bpf.Equal, bpf.R8, 0, "drop"),
			bpf.JumpIfValue(bpf.Equal, bpf.R8, -1, "pass"),
			bpf.Call(bpf.HelperKtime),
			bpf.Move(bpf.R9, bpf.R0),
			bpf.LoadFrom(bpf.Bits64, bpf.R0, bpf.R7, shapeLast),
			bpf.Move(bpf.R3, bpf.R9),
			bpf.Compute(bpf.Sub, bpf.R3, bpf.R0), // nanoseconds since then
			bpf.Set64(bpf.R4, perSecond),
			bpf.JumpIf(bpf.LessEqual, bpf.R3, bpf.R4, "short"),
			bpf.Move(bpf.R3, bpf.R4),
			bpf.Mark("short"),
			bpf.Set64(bpf.R5, 1<<34), // 16 GiB/s: what is more would not fit the product
			bpf.JumpIf(bpf.LessEqual, bpf.R8, bpf.R5, "fits"),
			bpf.Move(bpf.R8, bpf.R5),
			bpf.Mark("fits"),
			bpf.Compute(bpf.Mul, bpf.R3, bpf.R8),
			bpf.Compute(bpf.Div, bpf.R3, bpf.R4), // bytes that have become due
			bpf.JumpIfValue(bpf.Equal, bpf.R3, 0, "take"),
			bpf.Move(bpf.R4, bpf.R0),
			bpf.CompareExchange(bpf.Bits64, bpf.R7, shapeLast, bpf.R9),
			bpf.JumpIf(bpf.NotEqual, bpf.R0, bpf.R4, "take"),
			bpf.LoadFrom(bpf.Bits64, bpf.R2, bpf.R7, shapeBurst),
			bpf.LoadFrom(bpf.Bits64, bpf.R1, bpf.R7, shapeTokens),
			bpf.Compute(bpf.Add, bpf.R1, bpf.R3),
			bpf.JumpIf(bpf.LessEqual, bpf.R1, bpf.R2, "add"),
			bpf.Compute(bpf.Sub, bpf.R1, bpf.R2),
			bpf.Compute(bpf.Sub, bpf.R3, bpf.R1), // no more than fits
			bpf.Mark("add"),
			bpf.FetchAdd(bpf.Bits64, bpf.R7, shapeTokens, bpf.R3),
			bpf.Mark("take"),
			bpf.LoadFrom(bpf.Bits64, bpf.R0, bpf.R7, shapeTokens),
			bpf.JumpIf(bpf.Less, bpf.R0, bpf.R6, "drop"),
			bpf.Move(bpf.R1, bpf.R0),
			bpf.Compute(bpf.Sub, bpf.R1, bpf.R6),
			bpf.Move(bpf.R4, bpf.R0),
			bpf.CompareExchange(bpf.Bits64, bpf.R7, shapeTokens, bpf.R1),
			bpf.JumpIf(bpf.NotEqual, bpf.R0, bpf.R4, "drop"), // another took them
			bpf.Mark("pass"),
			bpf.FetchAdd(bpf.Bits64, bpf.R7, shapeBytes, bpf.R6),
			bpf.Set32(bpf.R1, 1),
			bpf.FetchAdd(bpf.Bits64, bpf.R7, shapePassed, bpf.R1),
		}, Return(pass), []bpf.Instruction{
			bpf.Mark("drop"),
			bpf.Set32(bpf.R1, 1),
			bpf.FetchAdd(bpf.Bits64, bpf.R7, shapeDropped, bpf.R1),
		}, Return(drop))
}

// Test runs the program on a packet, an Ethernet frame, and reports whether that passes.
func (s *Shaper) Test(packet []byte) (passes bool, err error) {
	answer, err := s.program.Test(packet)
	const tcxDrop = 2
	return answer != 0 && answer != tcxDrop, err
}

// Close lets everything pass again.
func (s *Shaper) Close() error { return errors.Join(s.link.Close(), s.program.Close()) }
