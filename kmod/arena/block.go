package arena

import (
	"slices"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/kmod/bpf"
)

// Blocks are pieces of programs. A block's labels begin with the label it is given, which must differ from those of the
// other blocks of a program. Unless its comment says otherwise it destroys R0 to R5, R8 and R9, and leaves R6
// and R7 alone. A program begins with Begin.

// Begin names the arena to the verifier. It destroys R0.
func (r *Region) Begin() []bpf.Instruction { return []bpf.Instruction{r.Map(bpf.R0)} }

// At makes dst lead to an offset of the heap, for loads and stores. It destroys nothing else.
func (r *Region) At(dst bpf.Register, offset uint64) []bpf.Instruction {
	return []bpf.Instruction{bpf.Set64(dst, r.base+offset), bpf.CastKernel(dst, dst)}
}

// Read is dst = the word at an offset of the heap, in order: what its writer stored before a release of this value can be
// read behind it. tmp must be another register, which leads to the word then. It is how control words are read.
func (r *Region) Read(dst, tmp bpf.Register, offset uint64) []bpf.Instruction {
	return append(r.At(tmp, offset), bpf.Set32(dst, 0), bpf.FetchAdd(bpf.Bits64, tmp, 0, dst))
}

// Zero is dst = 0, which the verifier does not know: it would go through a loop that counts from a number it knows turn by
// turn. The word is between the first ones of the superblock, where the format has nothing.
func (r *Region) Zero(dst bpf.Register) []bpf.Instruction {
	const nothing = layout.ChecksummedSize + 8
	return append(r.At(dst, nothing), bpf.LoadFrom(bpf.Bits64, dst, dst, 0))
}

// Count adds one to the word at an offset of the heap. It destroys R1 and R2.
func (r *Region) Count(offset uint64) []bpf.Instruction {
	return append(r.At(bpf.R1, offset), bpf.Set32(bpf.R2, 1), bpf.FetchAdd(bpf.Bits64, bpf.R1, 0, bpf.R2))
}

// Program joins blocks.
func Program(blocks ...[]bpf.Instruction) []bpf.Instruction { return slices.Concat(blocks...) }

// Return ends a program with a value.
func Return(value int32) []bpf.Instruction {
	return []bpf.Instruction{bpf.Set32(bpf.R0, value), bpf.Exit()}
}

// Walk goes along a list of raw pointers from the address in R1, 0 at its end, and adds up words: the next address is at
// offset next of an element, the word at offset value. R6 is the number of elements then and R7 the sum. It
// visits at most limit elements, so that a list which leads in a circle has an end. Addresses that lead nowhere
// read as 0.
func (r *Region) Walk(label string, next, value int16, limit int32) []bpf.Instruction {
	return append(r.Zero(bpf.R6), []bpf.Instruction{
		bpf.Set32(bpf.R7, 0),
		bpf.Mark(label + "-next"),
		bpf.JumpIfValue(bpf.Equal, bpf.R1, 0, label+"-end"),
		bpf.OrLeave(label + "-end"),
		bpf.JumpIfValue(bpf.GreaterEqual, bpf.R6, limit, label+"-end"),
		bpf.CastKernel(bpf.R2, bpf.R1),
		bpf.LoadFrom(bpf.Bits64, bpf.R3, bpf.R2, value),
		bpf.Compute(bpf.Add, bpf.R7, bpf.R3),
		bpf.ComputeBy(bpf.Add, bpf.R6, 1),
		bpf.LoadFrom(bpf.Bits64, bpf.R1, bpf.R2, next),
		bpf.Jump(label + "-next"),
		bpf.Mark(label + "-end"),
	}...)
}

// Reverse turns a list of raw pointers round, from the address in R1: R7 is its new first element and R6 the number of
// them. It goes on for at most limit elements; the rest is lost to the list then.
func (r *Region) Reverse(label string, next int16, limit int32) []bpf.Instruction {
	return append(r.Zero(bpf.R6), []bpf.Instruction{
		bpf.Set32(bpf.R7, 0),
		bpf.Mark(label + "-next"),
		bpf.JumpIfValue(bpf.Equal, bpf.R1, 0, label+"-end"),
		bpf.OrLeave(label + "-end"),
		bpf.JumpIfValue(bpf.GreaterEqual, bpf.R6, limit, label+"-end"),
		bpf.CastKernel(bpf.R2, bpf.R1),
		bpf.LoadFrom(bpf.Bits64, bpf.R3, bpf.R2, next),
		bpf.StoreTo(bpf.Bits64, bpf.R2, next, bpf.R7),
		bpf.Move(bpf.R7, bpf.R1),
		bpf.Move(bpf.R1, bpf.R3),
		bpf.ComputeBy(bpf.Add, bpf.R6, 1),
		bpf.Jump(label + "-next"),
		bpf.Mark(label + "-end"),
	}...)
}

// Link puts the element at the address in R7 in front of a list whose first address is the word at an offset of the heap:
// what the element's other words hold is visible to who finds it there. It leaves R7 alone, and is R0 = 1, or 0
// when others were quicker too often.
func (r *Region) Link(label string, head uint64, next int16) []bpf.Instruction {
	return Program(r.At(bpf.R8, head), r.Zero(bpf.R5), []bpf.Instruction{
		bpf.CastKernel(bpf.R9, bpf.R7),
		bpf.Mark(label + "-again"),
		bpf.OrLeave(label + "-give-up"),
		bpf.ComputeBy(bpf.Add, bpf.R5, 1),
		bpf.JumpIfValue(bpf.Greater, bpf.R5, 16, label+"-give-up"),
		bpf.LoadFrom(bpf.Bits64, bpf.R0, bpf.R8, 0),
		bpf.StoreTo(bpf.Bits64, bpf.R9, next, bpf.R0),
		bpf.Move(bpf.R4, bpf.R0),
		bpf.CompareExchange(bpf.Bits64, bpf.R8, 0, bpf.R7),
		bpf.JumpIf(bpf.NotEqual, bpf.R0, bpf.R4, label+"-again"),
		bpf.Set32(bpf.R0, 1),
		bpf.Jump(label + "-end"),
		bpf.Mark(label + "-give-up"),
		bpf.Set32(bpf.R0, 0),
		bpf.Mark(label + "-end"),
	})
}
