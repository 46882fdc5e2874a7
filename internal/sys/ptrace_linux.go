//go:build amd64 || arm64

package sys

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// HasPtrace tells whether the functions of this file were built in. The kernel obeys only the thread
// that traces: whoever calls Seize locks its thread (runtime.LockOSThread) and makes all calls there.
const HasPtrace = true

// Seize begins to trace a thread, which runs on. It stops at its next exec, also when that gives it
// another id (man 2 ptrace, "execve under ptrace"), and is killed when the tracer dies.
func Seize(tid int) error {
	const options = unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_EXITKILL
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(tid), 0, options, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("ptrace(PTRACE_SEIZE)", errno)
	}
	return nil
}

// WaitTracee waits until one of the traced threads stops or ends.
func WaitTracee() (Stop, error) {
	var status unix.WaitStatus
	var pid int
	err := retry(func() (err error) {
		pid, err = unix.Wait4(-1, &status, unix.WALL, nil)
		return err
	})
	if err != nil {
		return Stop{}, os.NewSyscallError("wait4", err)
	}
	return newStop(pid, status), nil
}

func newStop(pid int, status unix.WaitStatus) Stop {
	s := Stop{PID: pid, Kind: StopSignal, Signal: int(status.StopSignal())}
	switch event := int(status) >> 16; {
	case !status.Stopped():
		return Stop{PID: pid, Kind: StopGone}
	case event == unix.PTRACE_EVENT_EXEC:
		s.Kind = StopExec
	case event == unix.PTRACE_EVENT_STOP && s.Signal != int(unix.SIGTRAP):
		s.Kind = StopGroup
	case event == unix.PTRACE_EVENT_STOP:
		s.Signal = 0 // it goes on after SIGCONT
	case s.Signal == int(unix.SIGTRAP)|0x80:
		s.Kind = StopSyscall
	}
	return s
}

// Continue lets a stopped thread go on, with a signal unless that is 0.
func Continue(pid, signal int) error {
	return os.NewSyscallError("ptrace(PTRACE_CONT)", unix.PtraceCont(pid, signal))
}

// ToSyscall lets a stopped thread go on until it enters or leaves a system call.
func ToSyscall(pid int) error {
	return os.NewSyscallError("ptrace(PTRACE_SYSCALL)", unix.PtraceSyscall(pid, 0))
}

// Listen leaves a thread in its group stop and reports what ends it.
func Listen(pid int) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_LISTEN, uintptr(pid), 0, 0, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("ptrace(PTRACE_LISTEN)", errno)
	}
	return nil
}

// Detach lets a stopped thread run free.
func Detach(pid int) error {
	return os.NewSyscallError("ptrace(PTRACE_DETACH)", unix.PtraceDetach(pid))
}

// ReadProcess fills buf from the memory of a process.
func ReadProcess(pid int, address uint64, buf []byte) error {
	if len(buf) == 0 {
		return nil
	}
	local := []unix.Iovec{{Base: &buf[0]}}
	local[0].SetLen(len(buf))
	n, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(address), Len: len(buf)}}, 0)
	if err == nil && n != len(buf) {
		err = unix.EFAULT
	}
	return os.NewSyscallError("process_vm_readv", err)
}

// PeekTracee fills buf from the memory of a stopped thread, whatever the protection there.
func PeekTracee(pid int, address uint64, buf []byte) error {
	_, err := unix.PtracePeekData(pid, uintptr(address), buf)
	return os.NewSyscallError("ptrace(PTRACE_PEEKDATA)", err)
}

// PokeTracee writes data into the private memory of a stopped thread, whatever the protection there.
func PokeTracee(pid int, address uint64, data []byte) error {
	_, err := unix.PtracePokeData(pid, uintptr(address), data)
	return os.NewSyscallError("ptrace(PTRACE_POKEDATA)", err)
}

// Call is a system call to be made in a traced thread.
type Call struct {
	name   string
	number uint64
	args   [6]uint64
}

// CallReserve reserves as ReserveNoReplace does, or with a mere hint.
func CallReserve(base, size uint64, noReplace bool) Call {
	flags := uint64(unix.MAP_PRIVATE | unix.MAP_ANON | unix.MAP_NORESERVE)
	if noReplace {
		flags |= unix.MAP_FIXED_NOREPLACE
	}
	return Call{"mmap", unix.SYS_MMAP, [6]uint64{base, size, unix.PROT_NONE, flags, 1<<64 - 1, 0}}
}

// CallUnmap removes mappings.
func CallUnmap(base, size uint64) Call {
	return Call{"munmap", unix.SYS_MUNMAP, [6]uint64{base, size}}
}

// CallWait waits until the child pid of the process has ended. It returns 0 and sets nothing else: at
// the entry of a program some registers must be 0, such as rdx on amd64 and x0 on arm64, and they are.
func CallWait(pid int) Call {
	return Call{"waitid", unix.SYS_WAITID, [6]uint64{unix.P_PID, uint64(pid), 0, unix.WEXITED, 0}}
}

// CallExit ends the process with a status.
func CallExit(status int) Call {
	return Call{"exit_group", unix.SYS_EXIT_GROUP, [6]uint64{uint64(status)}}
}

// Enter sets registers so that the thread, when it goes on, makes the call with the system call
// instruction at address.
func (c Call) Enter(pid int, at Registers, address uint64) error {
	return at.withCall(address, c.number, c.args).Set(pid)
}

// EnterAndReturn is Enter with a return instruction behind that of the system call: it leads to where
// the registers say that the thread was.
func (c Call) EnterAndReturn(pid int, at Registers, address uint64) error {
	r, err := at.withCall(address, c.number, c.args).returningTo(pid, at.PC())
	if err != nil {
		return err
	}
	return r.Set(pid)
}

// Result reads what the call, which the thread is about to leave, has returned.
func (c Call) Result(pid int) (uint64, error) {
	r, err := GetRegisters(pid)
	if err != nil {
		return 0, err
	}
	const lastErrno = 4095
	if n := r.result(); n > ^uint64(0)-lastErrno {
		return 0, os.NewSyscallError(c.name, unix.Errno(-n))
	}
	return r.result(), nil
}

// AllowTracer lets the process pid trace this one although it is no ancestor, which the Yama security
// module forbids otherwise, until pid ends. Without Yama there is nothing to allow.
func AllowTracer(pid int) error {
	err := unix.Prctl(unix.PR_SET_PTRACER, uintptr(pid), 0, 0, 0)
	if errors.Is(err, unix.EINVAL) {
		return nil
	}
	return os.NewSyscallError("prctl(PR_SET_PTRACER)", err)
}

// Signal sends a signal to a process.
func Signal(pid, signal int) error {
	return os.NewSyscallError("kill", unix.Kill(pid, unix.Signal(signal)))
}

// ThreadID returns the id of the calling thread.
func ThreadID() int { return unix.Gettid() }

// NewSession makes this process independent of the terminal and the job that it was started in.
func NewSession() error {
	_, err := unix.Setsid()
	return os.NewSyscallError("setsid", err)
}

var errShortRegisters = fmt.Errorf("32-bit program: %w", errors.ErrUnsupported)
