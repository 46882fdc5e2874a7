package sys

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// SyscallInstruction is the instruction that makes a system call: syscall.
var SyscallInstruction = []byte{0x0f, 0x05}

// SyscallAndReturn is the same with a return to the address on the stack: syscall, ret.
var SyscallAndReturn = []byte{0x0f, 0x05, 0xc3}

// InstructionAlignment is the alignment of instructions in bytes.
const InstructionAlignment = 1

// userCode64 is the code segment of a 64-bit program (arch/x86/include/asm/segment.h, __USER_CS).
const userCode64 = 0x33

// Registers are the registers of a stopped thread.
type Registers struct{ r unix.PtraceRegs }

// GetRegisters reads the registers. It returns errors.ErrUnsupported for a 32-bit program.
func GetRegisters(pid int) (Registers, error) {
	var r Registers
	if err := unix.PtraceGetRegs(pid, &r.r); err != nil {
		return r, os.NewSyscallError("ptrace(PTRACE_GETREGS)", err)
	}
	if r.r.Cs != userCode64 {
		return r, errShortRegisters
	}
	return r, nil
}

// Set writes the registers.
func (r Registers) Set(pid int) error {
	return os.NewSyscallError("ptrace(PTRACE_SETREGS)", unix.PtraceSetRegs(pid, &r.r))
}

// PC returns the address of the next instruction.
func (r Registers) PC() uint64 { return r.r.Rip }

// Syscall returns the number and the first argument of the system call that the thread is about to make,
// if its next instruction is SyscallInstruction.
func (r Registers) Syscall() (number, argument uint64) { return r.r.Rax, r.r.Rdi }

// EnteredSyscall returns the same for a thread that has just entered a system call.
func (r Registers) EnteredSyscall() (number, argument uint64) { return r.r.Orig_rax, r.r.Rdi }

func (r Registers) result() uint64 { return r.r.Rax }

// withCall returns the registers for a system call (man 2 syscall). Orig_rax -1 says that the thread
// is in none, so that the kernel restarts none.
func (r Registers) withCall(address, number uint64, args [6]uint64) Registers {
	r.r.Rip, r.r.Rax, r.r.Orig_rax = address, number, 1<<64-1
	r.r.Rdi, r.r.Rsi, r.r.Rdx, r.r.R10, r.r.R8, r.r.R9 = args[0], args[1], args[2], args[3], args[4], args[5]
	return r
}

// returningTo makes the next return lead to address. It writes to the dead memory below the stack.
func (r Registers) returningTo(pid int, address uint64) (Registers, error) {
	r.r.Rsp -= 8
	return r, PokeTracee(pid, r.r.Rsp, binary.LittleEndian.AppendUint64(nil, address))
}
