//go:build (amd64 || arm64) && !crashpoint && !shmheap_portable

package crash

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
)

// An operation is marked in the process that makes it by system calls that do not exist: the tracer sees
// the first like any other, and the second by the registers.
const (
	markNumber = 0x53_484d
	markBegin  = 1
	markEnd    = 2
)

func mark(which uintptr) { syscall.RawSyscall(markNumber, which, 0, 0) }

// actor is a process whose one thread makes an operation, instruction by instruction. All that belongs
// to it is done on the thread that started it, which the test locks: the kernel obeys no other.
type actor struct {
	t       testing.TB
	cmd     *exec.Cmd
	tell    *os.File
	lines   *bufio.Reader
	answers *os.File
	stderr  bytes.Buffer

	thread int   // the one that makes the operation
	others []int // the others, which stand still
	thawed bool  // they run, because the thread waits for one of them

	marker uint64 // address of the system call instruction of marks
	code   map[uint64]instruction
	steps  int
	place  uint64 // address of the last instruction that was ours
}

// instruction is what is known of the one at an address.
type instruction struct {
	call bool // it makes a system call
	ours bool // it belongs to a package of this module that works on the heap
}

// startActor starts a program of Main, which says on which thread it is about to make the operation and
// waits. Nothing but the operation is to happen in it: no collections, no preemption.
func startActor(t testing.TB, program string, args ...string) *actor {
	t.Helper()
	a := &actor{t: t, code: make(map[uint64]instruction)}
	a.cmd = shmtest.Command(program, args...)
	a.cmd.Env = append(a.cmd.Env, "GODEBUG=asyncpreemptoff=1", "GOGC=off", "GOMAXPROCS=2")
	in, tell, err := os.Pipe()
	answers, out, err2 := os.Pipe()
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	a.tell, a.answers, a.lines = tell, answers, bufio.NewReader(answers)
	a.cmd.Stdin, a.cmd.Stdout, a.cmd.Stderr = in, out, &a.stderr
	err = a.cmd.Start()
	in.Close()
	out.Close()
	if err != nil {
		t.Fatal(err)
	}
	if a.thread, err = strconv.Atoi(a.hear()); err != nil {
		a.fail("first line: %v", err)
	}
	return a
}

// hear returns the next line of a process that runs.
func (a *actor) hear() string {
	a.t.Helper()
	a.answers.SetReadDeadline(time.Now().Add(shmtest.Patience))
	line, err := a.lines.ReadString('\n')
	if err != nil {
		a.fail("read a line: %v", err)
	}
	return strings.TrimSuffix(line, "\n")
}

// fail ends the test, and the actor, and shows what it wrote.
func (a *actor) fail(format string, args ...any) {
	a.t.Helper()
	where := a.where()
	a.kill()
	a.t.Fatalf("%s; after %d steps at %s\n%s", fmt.Sprintf(format, args...), a.steps, where, a.stderr.String())
}

// begin stops all threads of the process, and lets the one come to the begin of the operation.
func (a *actor) begin() {
	a.t.Helper()
	tasks, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(a.cmd.Process.Pid), "task"))
	if err != nil {
		a.fail("threads: %v", err)
	}
	for _, task := range tasks {
		tid, _ := strconv.Atoi(task.Name())
		a.must("seize", sys.Seize(tid))
		if tid != a.thread {
			a.others = append(a.others, tid)
		}
		a.must("interrupt", sys.Interrupt(tid))
		a.wait(tid)
	}
	a.must("go on", sys.ToSyscall(a.thread))
	fmt.Fprintln(a.tell, "go")
	a.toMark()
}

// toMark lets the thread run up to the first mark and behind its system call.
func (a *actor) toMark() {
	a.t.Helper()
	for {
		if stop := a.await(syscall.SYS_FUTEX); stop.Kind == sys.StopSyscall {
			r := a.registers()
			if number, which := r.EnteredSyscall(); number == markNumber && which == markBegin {
				break
			}
		}
		a.must("go on", sys.ToSyscall(a.thread))
	}
	a.must("leave the mark", sys.ToSyscall(a.thread))
	a.await(markNumber)
	r := a.registers()
	a.marker = r.PC() - uint64(len(sys.SyscallInstruction))
}

func (a *actor) must(what string, err error) {
	a.t.Helper()
	if err != nil {
		a.fail("%s: %v", what, err)
	}
}

func (a *actor) registers() sys.Registers {
	a.t.Helper()
	r, err := sys.GetRegisters(a.thread)
	a.must("registers", err)
	return r
}

// wait waits for a thread that will certainly stop.
func (a *actor) wait(tid int) sys.Stop {
	a.t.Helper()
	stop, _, err := sys.WaitThread(tid, true)
	a.must("wait", err)
	if stop.Kind == sys.StopGone {
		a.fail("thread %d is gone", tid)
	}
	return stop
}

// waitsForOthers are the system calls in which a thread may wait for others.
var waitsForOthers = []uint64{syscall.SYS_FUTEX, syscall.SYS_NANOSLEEP, syscall.SYS_EPOLL_PWAIT}

// How long a thread is left in such a system call, and in any other, before it gets help.
const (
	waitPatience = 2 * time.Millisecond
	callPatience = time.Second
)

// await waits for the thread to leave a system call. It may be waiting for one of the others: then those
// run meanwhile.
func (a *actor) await(call uint64) sys.Stop {
	a.t.Helper()
	patience := callPatience
	if slices.Contains(waitsForOthers, call) {
		patience = waitPatience
	}
	for begin, pause := time.Now(), time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		stop, ok, err := sys.WaitThread(a.thread, false)
		a.must("wait", err)
		if ok && stop.Kind == sys.StopGone {
			a.fail("the thread is gone")
		}
		if ok {
			a.freeze()
			return stop
		}
		if !a.thawed && time.Since(begin) > patience && a.sleeps() {
			a.thaw()
		}
		if time.Since(begin) > shmtest.Patience {
			a.fail("the thread waits for ever")
		}
		time.Sleep(pause)
	}
}

// sleeps reports whether the thread does not merely wait for a processor (man 5 proc_pid_stat).
func (a *actor) sleeps() bool {
	text, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(a.thread), "stat"))
	_, rest, _ := bytes.Cut(text, []byte(") "))
	return bytes.HasPrefix(rest, []byte("S"))
}

// freeze stops the others again.
func (a *actor) freeze() {
	a.t.Helper()
	if !a.thawed {
		return
	}
	a.thawed = false
	for _, tid := range a.others {
		a.must("interrupt", sys.Interrupt(tid))
		a.wait(tid)
	}
}

func (a *actor) thaw() {
	a.t.Helper()
	a.thawed = true
	for _, tid := range a.others {
		a.must("continue", sys.Continue(tid, 0))
	}
}

// step executes one instruction, and reports false at the end of the operation.
func (a *actor) step() bool {
	a.t.Helper()
	r := a.registers()
	pc := r.PC()
	here := a.instructionAt(pc)
	if here.ours {
		a.place = pc
	}
	number, which := r.Syscall()
	if pc == a.marker && number == markNumber && which == markEnd {
		return false
	}
	a.must("step", sys.Step(a.thread))
	var stop sys.Stop
	if here.call {
		stop = a.await(number)
	} else {
		stop = a.wait(a.thread)
	}
	if stop.Kind != sys.StopSignal || stop.Signal != int(syscall.SIGTRAP) {
		a.fail("stopped by %+v", stop)
	}
	a.steps++
	return true
}

func (a *actor) instructionAt(pc uint64) instruction {
	a.t.Helper()
	if here, known := a.code[pc]; known {
		return here
	}
	text := make([]byte, len(sys.SyscallInstruction))
	a.must("read code", sys.PeekTracee(a.thread, pc, text))
	here := instruction{call: bytes.Equal(text, sys.SyscallInstruction)}
	if f := runtime.FuncForPC(uintptr(pc)); f != nil {
		name, ours := strings.CutPrefix(f.Name(), "github.com/shmheap/shmheap/")
		here.ours = ours && !strings.HasPrefix(name, "internal/")
	}
	a.code[pc] = here
	return here
}

// skip lets the thread run on to the n-th place where it enters or leaves a system call.
func (a *actor) skip(n int) {
	a.t.Helper()
	for range n {
		a.must("go on", sys.ToSyscall(a.thread))
		a.await(syscall.SYS_FUTEX)
	}
}

// where names the place of the thread, which runs the same program as this process.
func (a *actor) where() string {
	if a.place == 0 {
		return "the begin"
	}
	return placeOf(a.place)
}

// placeOf names the function that the instruction at an address belongs to, and those that were inlined.
func placeOf(pc uint64) string {
	var names []string
	for frames := runtime.CallersFrames([]uintptr{uintptr(pc) + 1}); ; {
		frame, more := frames.Next()
		if !strings.Contains(frame.Function, "internal/mem.") {
			names = append(names, fmt.Sprintf("%s (%s:%d)", frame.Function[strings.LastIndexByte(frame.Function, '/')+1:], filepath.Base(frame.File), frame.Line))
		}
		if !more {
			return strings.Join(names, " in ")
		}
	}
}

// finish lets the process run on behind the operation and returns what it says of it.
func (a *actor) finish() string {
	a.t.Helper()
	if !a.thawed {
		a.thaw()
	}
	a.must("continue", sys.Continue(a.thread, 0))
	return a.hear()
}

// kill kills the process and waits until it is gone, and with it its locks.
func (a *actor) kill() {
	_ = a.cmd.Process.Kill() // it may be gone
	for _, tid := range append(a.others, a.thread) {
		for tid != a.cmd.Process.Pid {
			stop, _, err := sys.WaitThread(tid, true)
			if err != nil || stop.Kind == sys.StopGone {
				break
			}
		}
	}
	_ = a.cmd.Wait() // killed
	a.tell.Close()
	a.answers.Close()
}
