package bpf

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/shmheap/shmheap/internal/sys"
)

// Type says what a program is for, and what it gets.
type Type uint32

// Types of programs.
const (
	Classifier    Type = 3  // sees packets at a network interface
	CgroupPackets Type = 8  // sees packets of the processes of a control group: returns 1 to let one pass
	RawTracepoint Type = 17 // runs where the kernel has a tracepoint: R1 leads to its arguments
	Tracing       Type = 26 // the same with types
	Syscall       Type = 31 // runs when it is asked to, by Run; it may sleep
)

// Errors of this package.
var (
	ErrUnsupported = errors.New("the kernel cannot do that")
	ErrRefused     = errors.New("the verifier refuses the program")
)

// SupportError says what this machine lacks. It wraps ErrUnsupported, and the errno of the kernel.
type SupportError struct {
	What string // that was wanted
	Need string // what it takes
	Err  error  // of the kernel
}

// Error implements error.
func (e *SupportError) Error() string { return fmt.Sprintf("%s: needs %s: %v", e.What, e.Need, e.Err) }

// Unwrap returns what errors.Is finds.
func (e *SupportError) Unwrap() []error { return []error{ErrUnsupported, e.Err} }

// Program is a loaded program. Its methods may be called by any number of goroutines, and it may run on
// all processors at once.
type Program struct{ file *os.File }

// Spec is a program to load.
type Spec struct {
	Name string // for people: letters, digits and underscores
	Type Type   // what it is for
	// Code is what Assemble takes.
	Code []Instruction
	// Raw is code that Object has read, in place of Code.
	Raw []byte
}

// License lets programs call functions that the kernel keeps for programs that may be linked with it.
const License = "Dual MIT/GPL"

const sleepable = 1 << 4 // BPF_F_SLEEPABLE

// Attach types.
const (
	AttachCgroupIngress uint32 = 0
	AttachCgroupEgress  uint32 = 1
	AttachTCXIngress    uint32 = 46 // Linux 6.6
	AttachTCXEgress     uint32 = 47
)

// Load has the kernel verify and compile a program. It returns a *SupportError where that is not allowed, and
// an error that wraps ErrRefused and has what the verifier said.
func Load(s *Spec) (*Program, error) {
	code := s.Raw
	if code == nil {
		var err error
		if code, err = Assemble(s.Code); err != nil {
			return nil, fmt.Errorf("program %s: %w", s.Name, err)
		}
	}
	spec := sys.ProgramSpec{Type: uint32(s.Type), Instructions: code, License: License, Name: s.Name}
	if s.Type == Syscall {
		spec.Flags = sleepable
	}
	if s.Type == CgroupPackets {
		spec.AttachType = AttachCgroupEgress
	}
	f, err := sys.ProgramLoad(&spec, nil)
	if err != nil {
		return nil, explain(&spec, err)
	}
	return &Program{f}, nil
}

// explain loads the program once more to hear why not.
func explain(spec *sys.ProgramSpec, err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return &SupportError{"load a program", "Linux with bpf(2)", err}
	}
	log := make([]byte, 1<<18)
	f, again := sys.ProgramLoad(spec, log)
	if again == nil {
		err = errors.Join(err, f.Close())
	}
	text, _, _ := bytes.Cut(log, []byte{0})
	if len(text) == 0 && errors.Is(err, os.ErrPermission) { // the verifier was not asked
		return &SupportError{"load a program", "CAP_BPF and CAP_PERFMON, and CAP_NET_ADMIN for one that sees packets", err}
	}
	const most = 2000
	said := strings.TrimSpace(string(text))
	return fmt.Errorf("program %s: %w: %w: ...%s", spec.Name, ErrRefused, err, said[max(0, len(said)-most):])
}

// FromFile takes over the descriptor of a program that was received, or opened by its name.
func FromFile(f *os.File) *Program { return &Program{f} }

// Open returns the program that has been pinned at a path.
func Open(path string) (*Program, error) {
	f, err := sys.ObjectGet(path)
	if err != nil {
		return nil, err
	}
	return &Program{f}, nil
}

// Pin gives the program a name in a file system for BPF objects, by which others open it.
func (p *Program) Pin(path string) error { return sys.ObjectPin(p.file, path) }

// File is the program's descriptor. A process that receives it may run the program, privileged or not. It stays
// the program's.
func (p *Program) File() *os.File { return p.file }

// Run runs a program of type Syscall with context as its argument, which the program may change, and returns
// what it returns. It is a system call of less than a microsecond and needs no privilege.
func (p *Program) Run(context []byte) (uint32, error) { return sys.ProgramRun(p.file, context) }

// Test runs a program that sees packets on one, and returns what it returns.
func (p *Program) Test(packet []byte) (uint32, error) { return sys.ProgramTest(p.file, packet) }

// Close gives the program up. It stays as long as it is attached or pinned, or another has it.
func (p *Program) Close() error { return p.file.Close() }

// Link is an attached program. Close detaches it, and so does the end of the process.
type Link struct{ file *os.File }

// AttachTracepoint runs a program of type RawTracepoint wherever the kernel comes to the tracepoint.
func (p *Program) AttachTracepoint(name string) (*Link, error) {
	f, err := sys.RawTracepoint(name, p.file)
	if err != nil {
		return nil, fmt.Errorf("attach to tracepoint %s: %w", name, err)
	}
	return &Link{f}, nil
}

// AttachCgroup runs a program of type CgroupPackets for the packets of the processes in a control group of the
// unified hierarchy, whose directory is given.
func (p *Program) AttachCgroup(dir *os.File, attachType uint32) (*Link, error) {
	return p.attach(uint32(dir.Fd()), attachType, dir.Name())
}

// AttachInterface runs a program of type Classifier for the packets of a network interface.
func (p *Program) AttachInterface(index int, attachType uint32) (*Link, error) {
	return p.attach(uint32(index), attachType, fmt.Sprintf("interface %d", index))
}

func (p *Program) attach(target, attachType uint32, to string) (*Link, error) {
	f, err := sys.LinkCreate(p.file, target, attachType)
	if err != nil {
		return nil, fmt.Errorf("attach to %s: %w", to, err)
	}
	return &Link{f}, nil
}

// Close detaches the program.
func (l *Link) Close() error { return l.file.Close() }
