package bpf

import (
	"encoding/binary"
	"fmt"
)

// Register is one of the eleven registers: R0 is what calls and programs return, R1 to R5 are arguments, which
// a call destroys, R6 to R9 survive calls, and R10 is the end of the stack of 512 bytes.
type Register uint8

// Registers.
const (
	R0 Register = iota
	R1
	R2
	R3
	R4
	R5
	R6
	R7
	R8
	R9
	R10
)

// Size of a load or store.
type Size uint8

// Sizes in bits.
const (
	Bits32 Size = 0x00
	Bits16 Size = 0x08
	Bits8  Size = 0x10
	Bits64 Size = 0x18
)

// Operation of arithmetic.
type Operation uint8

// Operations of arithmetic, on 64 bits.
const (
	Add Operation = 0x00
	Sub Operation = 0x10
	Mul Operation = 0x20
	Div Operation = 0x30
	Or  Operation = 0x40
	And Operation = 0x50
	Lsh Operation = 0x60
	Rsh Operation = 0x70
	Mod Operation = 0x90
	Xor Operation = 0xa0
)

// Condition of a jump; numbers are unsigned.
type Condition uint8

// Conditions.
const (
	Equal        Condition = 0x10
	Greater      Condition = 0x20
	GreaterEqual Condition = 0x30
	Set          Condition = 0x40 // they have a bit in common
	NotEqual     Condition = 0x50
	Less         Condition = 0xa0
	LessEqual    Condition = 0xb0
)

// Helper is a function of the kernel that every version numbers alike (man 7 bpf-helpers).
type Helper int32

// Helpers.
const (
	HelperKtime          Helper = 5
	HelperProcessorID    Helper = 8
	HelperPidTgid        Helper = 14
	HelperComm           Helper = 16
	HelperReadKernel     Helper = 113
	HelperRingOutput     Helper = 130
	HelperCurrentTaskBTF Helper = 158
)

// Instruction is one instruction, or a label. Those that jump name one. Code, Dst, Src, Offset and Constant are as the
// kernel wants them, and made by the functions below.
type Instruction struct {
	Code     uint8
	Dst, Src Register
	Offset   int16
	Constant int32
	Wide     uint32 // upper half of a constant of 64 bits
	Label    string // this is no instruction but the place of one
	Target   string // label to jump to
}

// Classes and modes of instructions (Documentation/bpf/standardization/instruction-set.rst).
const (
	classLoad   = 0x00
	classLoadX  = 0x01
	classStore  = 0x02
	classStoreX = 0x03
	classJump   = 0x05
	class64     = 0x07
	class32     = 0x04
	sourceX     = 0x08
	modeImm     = 0x00
	modeMem     = 0x60
	modeAtomic  = 0xc0
	opMove      = 0xb0
	opMayGoto   = 0xe0
	jumpAlways  = 0x00
	jumpCall    = 0x80
	jumpExit    = 0x90
	pseudoMap   = 1
	pseudoFunc  = 2
	atomicFetch = 0x01
)

// Mark gives the next instruction a name to jump to.
func Mark(label string) Instruction { return Instruction{Label: label} }

// Move is dst = src.
func Move(dst, src Register) Instruction {
	return Instruction{Code: class64 | sourceX | opMove, Dst: dst, Src: src}
}

// Set32 is dst = value, extended with its sign.
func Set32(dst Register, value int32) Instruction {
	return Instruction{Code: class64 | opMove, Dst: dst, Constant: value}
}

// Set64 is dst = value.
func Set64(dst Register, value uint64) Instruction {
	return Instruction{Code: classLoad | modeImm | uint8(Bits64), Dst: dst, Constant: int32(uint32(value)), Wide: uint32(value >> 32)}
}

// Map is dst = the map behind a descriptor.
func Map(dst Register, fd int) Instruction {
	return Instruction{Code: classLoad | modeImm | uint8(Bits64), Dst: dst, Src: pseudoMap, Constant: int32(fd)}
}

// CastKernel is dst = src, a pointer of user space into the arena made into one for loads and stores.
func CastKernel(dst, src Register) Instruction {
	return Instruction{Code: class64 | sourceX | opMove, Dst: dst, Src: src, Offset: 1, Constant: 1}
}

// CastUser is the reverse: what a kernel function such as bpf_arena_alloc_pages returned, to be stored.
func CastUser(dst, src Register) Instruction {
	return Instruction{Code: class64 | sourceX | opMove, Dst: dst, Src: src, Offset: 1, Constant: 1 << 16}
}

// Compute is dst = dst op src.
func Compute(op Operation, dst, src Register) Instruction {
	return Instruction{Code: class64 | sourceX | uint8(op), Dst: dst, Src: src}
}

// ComputeBy is dst = dst op value.
func ComputeBy(op Operation, dst Register, value int32) Instruction {
	return Instruction{Code: class64 | uint8(op), Dst: dst, Constant: value}
}

// Cut is dst = the low 32 bits of src.
func Cut(dst, src Register) Instruction {
	return Instruction{Code: class32 | sourceX | opMove, Dst: dst, Src: src}
}

// LoadFrom is dst = the memory at src + offset.
func LoadFrom(size Size, dst, src Register, offset int16) Instruction {
	return Instruction{Code: classLoadX | modeMem | uint8(size), Dst: dst, Src: src, Offset: offset}
}

// StoreTo is the memory at dst + offset = src.
func StoreTo(size Size, dst Register, offset int16, src Register) Instruction {
	return Instruction{Code: classStoreX | modeMem | uint8(size), Dst: dst, Src: src, Offset: offset}
}

// SetTo is the memory at dst + offset = value.
func SetTo(size Size, dst Register, offset int16, value int32) Instruction {
	return Instruction{Code: classStore | modeMem | uint8(size), Dst: dst, Offset: offset, Constant: value}
}

func atomic(size Size, dst Register, offset int16, src Register, op int32) Instruction {
	return Instruction{Code: classStoreX | modeAtomic | uint8(size), Dst: dst, Src: src, Offset: offset, Constant: op}
}

// FetchAdd adds src to the memory at dst + offset and puts into src what was there: a full barrier. With 0 it is a load
// in order. (The same with or, and and exclusive or does not exist for arenas on x86_64.)
func FetchAdd(size Size, dst Register, offset int16, src Register) Instruction {
	return atomic(size, dst, offset, src, int32(Add)|atomicFetch)
}

// Exchange swaps src and the memory at dst + offset: a full barrier. It is a store in order.
func Exchange(size Size, dst Register, offset int16, src Register) Instruction {
	return atomic(size, dst, offset, src, 0xe0|atomicFetch)
}

// CompareExchange stores src at dst + offset if R0 is there, and puts into R0 what was: a full barrier.
func CompareExchange(size Size, dst Register, offset int16, src Register) Instruction {
	return atomic(size, dst, offset, src, 0xf0|atomicFetch)
}

// Jump goes to the label.
func Jump(target string) Instruction {
	return Instruction{Code: classJump | jumpAlways, Target: target}
}

// JumpIf goes to the label if the condition holds between dst and src.
func JumpIf(c Condition, dst, src Register, target string) Instruction {
	return Instruction{Code: classJump | sourceX | uint8(c), Dst: dst, Src: src, Target: target}
}

// JumpIfValue goes to the label if the condition holds between dst and a value, extended with its sign.
func JumpIfValue(c Condition, dst Register, value int32, target string) Instruction {
	return Instruction{Code: classJump | uint8(c), Dst: dst, Constant: value, Target: target}
}

// OrLeave goes to the label when the program has used up its turns, about eight million: a loop that the verifier
// cannot count must have one (may_goto, Linux 6.9).
func OrLeave(target string) Instruction {
	return Instruction{Code: classJump | opMayGoto, Target: target}
}

// Call calls a helper.
func Call(h Helper) Instruction { return Instruction{Code: classJump | jumpCall, Constant: int32(h)} }

// CallKernel calls a function of the kernel by its type's number: see Kernel.Function.
func CallKernel(id int32) Instruction {
	return Instruction{Code: classJump | jumpCall, Src: pseudoFunc, Constant: id}
}

// Exit returns R0.
func Exit() Instruction { return Instruction{Code: classJump | jumpExit} }

// wide reports whether the instruction takes two places.
func (i *Instruction) wide() bool { return i.Code == classLoad|modeImm|uint8(Bits64) }

// Assemble encodes a program. It returns an error for a label that is missing, there twice or too far away.
func Assemble(program []Instruction) ([]byte, error) {
	labels, err := places(program)
	if err != nil {
		return nil, err
	}
	var code []byte
	for _, i := range program {
		if i.Label != "" {
			continue
		}
		if i.Target != "" {
			to, ok := labels[i.Target]
			distance := to - len(code)/8 - 1
			if !ok || int(int16(distance)) != distance {
				return nil, fmt.Errorf("jump to %q: no such label near enough", i.Target)
			}
			i.Offset = int16(distance)
		}
		code = i.encode(code)
	}
	return code, nil
}

// places returns the places of the labels.
func places(program []Instruction) (map[string]int, error) {
	labels := make(map[string]int)
	at := 0
	for _, i := range program {
		switch _, twice := labels[i.Label]; {
		case i.Label != "" && twice:
			return nil, fmt.Errorf("label %q is there twice", i.Label)
		case i.Label != "":
			labels[i.Label] = at
		case i.wide():
			at += 2
		default:
			at++
		}
	}
	return labels, nil
}

func (i *Instruction) encode(code []byte) []byte {
	le := binary.LittleEndian
	code = append(code, i.Code, uint8(i.Dst)|uint8(i.Src)<<4)
	code = le.AppendUint16(code, uint16(i.Offset))
	code = le.AppendUint32(code, uint32(i.Constant))
	if i.wide() {
		code = le.AppendUint32(append(code, 0, 0, 0, 0), i.Wide)
	}
	return code
}
