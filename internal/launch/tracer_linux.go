//go:build amd64 || arm64

package launch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"

	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/probe"
)

// exitNotReserved is the status of a program that did not get what Launch.Require wants: that of the
// launcher when it fails, as with env(1).
const exitNotReserved = 125

// errGone says that the program has ended, which is nobody's fault here.
var errGone = errors.New("the program has ended")

// errNoExit is the reason for which a program is killed that cannot be made to exit.
var errNoExit = errors.New("the program is killed")

// follow traces the launcher's thread, says so, and makes the reservations when it has become the
// program. A launcher that ends before is let go.
func follow(r *request, answer func(error) error, warn io.Writer) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := sys.Seize(r.Thread); err != nil {
		return answer(fmt.Errorf("%w (seccomp, Yama or another tracer)", err))
	}
	if err := answer(nil); err != nil {
		return err
	}
	pid, err := untilExec()
	if err == nil {
		t := tracee{pid: pid, request: r, find: findPlace}
		err = t.prepare(warn)
	}
	if errors.Is(err, errGone) || sys.IsGone(err) {
		return nil
	}
	return err
}

// untilExec waits for the exec and returns the process. What happens to the thread before that is
// passed on.
func untilExec() (pid int, err error) {
	for {
		stop, err := sys.WaitTracee()
		switch {
		case err != nil:
			return 0, err
		case stop.Kind == sys.StopGone:
			return 0, errGone
		case stop.Kind == sys.StopExec:
			return stop.PID, nil
		case stop.Kind == sys.StopGroup:
			err = sys.Listen(stop.PID)
		default:
			err = sys.Continue(stop.PID, stop.Signal)
		}
		if err != nil {
			return 0, err
		}
	}
}

// tracee is a program that has been loaded and has not run yet.
type tracee struct {
	pid     int
	request *request
	find    func(*tracee) (place, error) // instructions that make a system call

	saved   sys.Registers
	changed bool // the registers
	mask    sys.SignalMask
	late    []int // signals that came meanwhile
}

// place is where the program has a system call instruction.
type place struct {
	address uint64
	returns bool         // the next instruction is a return
	restore func() error // nil where nothing was changed
}

func (p place) undo() error {
	if p.restore == nil {
		return nil
	}
	return p.restore()
}

// prepare makes the reservations and lets the program run, or ends it when that was required and could
// not be done. An error means that the program is in no defined state: the tracer's end kills it.
func (t *tracee) prepare(warn io.Writer) error {
	if err := t.stopAtEntry(); err != nil {
		return err
	}
	at, err := t.instruction()
	if err == nil {
		err = t.reserveEach(at)
	}
	if errors.Is(err, errGone) || sys.IsGone(err) {
		return errGone
	}
	if err != nil {
		t.complain(warn, err)
		if t.request.Require {
			return t.exit(at)
		}
	}
	if err := at.undo(); err != nil {
		return err
	}
	return t.release(at)
}

// instruction returns one that the program can make its system calls with.
func (t *tracee) instruction() (at place, err error) {
	if t.saved, err = sys.GetRegisters(t.pid); err != nil {
		return place{}, err
	}
	if at, err = t.find(t); err != nil {
		return entryInstruction(t)
	}
	return at, nil
}

func (t *tracee) complain(warn io.Writer, err error) {
	kind := "warning: "
	if t.request.Require {
		kind = ""
	}
	fmt.Fprintf(warn, "shmheap: %s%s: %v\n", kind, t.request.Program, err)
}

// stopAtEntry takes the program from within exec to where it is about to begin, and keeps signals away.
func (t *tracee) stopAtEntry() (err error) {
	if err := t.toSyscall(); err != nil { // the end of exec
		return err
	}
	if t.mask, err = sys.GetSignalMask(t.pid); err != nil {
		return err
	}
	return sys.AllSignals.Set(t.pid)
}

// toSyscall lets the program go on until it enters or leaves a system call. SIGSTOP is the one signal
// that cannot be kept away; it comes back when the program runs.
func (t *tracee) toSyscall() error {
	for {
		if err := sys.ToSyscall(t.pid); err != nil {
			return err
		}
		stop, err := sys.WaitTracee()
		switch {
		case err != nil:
			return err
		case stop.Kind == sys.StopGone:
			return errGone
		case stop.Kind == sys.StopSyscall:
			return nil
		case stop.Kind == sys.StopSignal && stop.Signal != 0:
			t.late = append(t.late, stop.Signal)
		}
	}
}

// reserveEach makes all reservations or none.
func (t *tracee) reserveEach(at place) error {
	for i, r := range t.request.Ranges {
		err := t.reserve(at, r)
		if err == nil {
			continue
		}
		for _, done := range t.request.Ranges[:i] {
			_, undo := t.call(at, sys.CallUnmap(done.Base, done.Size))
			err = errors.Join(err, undo)
		}
		return fmt.Errorf("reserve [%#x, %#x): %w%s", r.Base, r.Base+r.Size, err, t.culprit(r))
	}
	return nil
}

// reserve makes one reservation and marks it.
func (t *tracee) reserve(at place, r addresses) error {
	got, err := t.call(at, sys.CallReserve(r.Base, r.Size, noReplace()))
	if err == nil && got == r.Base {
		err = sys.PokeTracee(t.pid, r.Base, t.request.Nonce[:])
		if err == nil {
			return nil
		}
	}
	if err == nil {
		err = fmt.Errorf("the kernel answered %#x", got)
	}
	if got != 0 {
		_, undo := t.call(at, sys.CallUnmap(got, r.Size))
		err = errors.Join(err, undo)
	}
	return err
}

// noReplace reports whether MAP_FIXED_NOREPLACE is sound (see package probe). A hint does as well: it
// is compared with the answer.
func noReplace() bool {
	version, err := sys.KernelVersion()
	return err == nil && version.AtLeast(4, 19)
}

// call makes the program make a system call, and returns what that returned.
func (t *tracee) call(at place, c sys.Call) (uint64, error) {
	t.changed = true
	if err := c.Enter(t.pid, t.saved, at.address); err != nil {
		return 0, err
	}
	for range 2 { // entry and exit
		if err := t.toSyscall(); err != nil {
			return 0, err
		}
	}
	return c.Result(t.pid)
}

// culprit names what lies in a range of the program.
func (t *tracee) culprit(r addresses) (text string) {
	span := probe.Range{Start: r.Base, End: r.Base + r.Size}
	_ = sys.EachMappingOf(t.pid, func(m sys.Mapping) error {
		there := probe.Mapping{Range: probe.Range{Start: m.Start, End: m.End}, Perms: m.Perms, Path: m.Path}
		if text == "" && there.Overlaps(span) {
			text = fmt.Sprintf("; there is %v", there)
		}
		return nil
	})
	return text
}

// release lets the program run as if nothing had been.
func (t *tracee) release(at place) error {
	if err := t.atEntry(at); err != nil {
		return err
	}
	if err := t.mask.Set(t.pid); err != nil {
		return err
	}
	for _, signal := range t.late { // pending until the program goes on
		if err := sys.Signal(t.pid, signal); err != nil {
			return err
		}
	}
	return sys.Detach(t.pid)
}

// atEntry sets the registers so that the program first waits for the end of its tracer and then begins.
// Without an instruction that returns to its beginning it just begins, and this process is a zombie
// until its end.
func (t *tracee) atEntry(at place) error {
	switch {
	case at.returns:
		return sys.CallWait(os.Getpid()).EnterAndReturn(t.pid, t.saved, at.address)
	case t.changed:
		return t.saved.Set(t.pid)
	}
	return nil
}

// exit ends the program: with a status where it can be made to call exit, or the hard way.
func (t *tracee) exit(at place) error {
	if at.address == 0 {
		return errNoExit
	}
	_, err := t.call(at, sys.CallExit(exitNotReserved))
	return err
}

// findPlace is instructionOf but in tests.
var findPlace = instructionOf

// instructionOf finds a place in the code of the program: first in the page that the kernel maps into
// every one, then in what else it can execute.
func instructionOf(t *tracee) (place, error) {
	var code []sys.Mapping
	err := sys.EachMappingOf(t.pid, func(m sys.Mapping) error {
		if m.Path == "[vdso]" {
			code = slices.Insert(code, 0, m)
		} else if m.Perms[2] == 'x' && m.End <= 1<<63 {
			code = append(code, m)
		}
		return nil
	})
	if err != nil {
		return place{}, err
	}
	for _, instructions := range [][]byte{sys.SyscallAndReturn, sys.SyscallInstruction} {
		for _, m := range code {
			if at, ok := t.search(m, instructions); ok {
				return place{address: at, returns: len(instructions) > len(sys.SyscallInstruction)}, nil
			}
		}
	}
	return place{}, errors.New("no system call instruction in the program")
}

// search looks for instructions in the first MiB of a mapping. Any such bytes do, at an address where
// an instruction may be.
func (t *tracee) search(m sys.Mapping, instructions []byte) (uint64, bool) {
	code := make([]byte, min(m.End-m.Start, 1<<20))
	if sys.ReadProcess(t.pid, m.Start, code) != nil {
		return 0, false
	}
	for i := 0; i+len(instructions) <= len(code); i += sys.InstructionAlignment {
		if bytes.HasPrefix(code[i:], instructions) {
			return m.Start + uint64(i), true
		}
	}
	return 0, false
}

// entryInstruction writes one over the first instruction of the program, for the moment.
func entryInstruction(t *tracee) (place, error) {
	at := t.saved.PC()
	old := make([]byte, len(sys.SyscallInstruction))
	if err := sys.PeekTracee(t.pid, at, old); err != nil {
		return place{}, err
	}
	return place{address: at, restore: func() error { return sys.PokeTracee(t.pid, at, old) }},
		sys.PokeTracee(t.pid, at, sys.SyscallInstruction)
}
