package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// SyscallInstruction is the instruction that makes a system call: svc #0.
var SyscallInstruction = []byte{0x01, 0x00, 0x00, 0xd4}

// SyscallAndReturn is the same with a return to the address in x30: svc #0, ret.
var SyscallAndReturn = []byte{0x01, 0x00, 0x00, 0xd4, 0xc0, 0x03, 0x5f, 0xd6}

// InstructionAlignment is the alignment of instructions in bytes.
const InstructionAlignment = 4

const (
	generalRegisters = 1    // NT_PRSTATUS
	state32          = 0x10 // PSR_MODE32_BIT
)

// Registers are the registers of a stopped thread.
type Registers struct{ r unix.PtraceRegsArm64 }

// GetRegisters reads the registers. It returns errors.ErrUnsupported for a 32-bit program.
func GetRegisters(pid int) (Registers, error) {
	var r Registers
	if err := unix.PtraceGetRegSetArm64(pid, generalRegisters, &r.r); err != nil {
		return r, os.NewSyscallError("ptrace(PTRACE_GETREGSET)", err)
	}
	// A 32-bit thread answers with fewer bytes and leaves the end, where Pstate is, zero. Sp is never
	// zero in a 64-bit one.
	if r.r.Sp == 0 || r.r.Pstate&state32 != 0 {
		return r, errShortRegisters
	}
	return r, nil
}

// Set writes the registers.
func (r Registers) Set(pid int) error {
	return os.NewSyscallError("ptrace(PTRACE_SETREGSET)", unix.PtraceSetRegSetArm64(pid, generalRegisters, &r.r))
}

// PC returns the address of the next instruction.
func (r Registers) PC() uint64 { return r.r.Pc }

// Syscall returns the number and the first argument of the system call that the thread is about to make,
// if its next instruction is SyscallInstruction.
func (r Registers) Syscall() (number, argument uint64) { return r.r.Regs[8], r.r.Regs[0] }

// EnteredSyscall returns the same for a thread that has just entered a system call.
func (r Registers) EnteredSyscall() (number, argument uint64) { return r.Syscall() }

func (r Registers) result() uint64 { return r.r.Regs[0] }

// withCall returns the registers for a system call (man 2 syscall). The value of x7 while the thread
// enters or leaves one belongs to the kernel, which ignores what is written there.
func (r Registers) withCall(address, number uint64, args [6]uint64) Registers {
	copy(r.r.Regs[:], args[:])
	r.r.Regs[8], r.r.Pc = number, address
	return r
}

// returningTo makes the next return lead to address.
func (r Registers) returningTo(_ int, address uint64) (Registers, error) {
	r.r.Regs[30] = address
	return r, nil
}
