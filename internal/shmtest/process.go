package shmtest

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// programVariable says which program the test binary runs instead of its tests.
const programVariable = "SHMTEST_PROGRAM"

// Patience is how long a test waits for something that must happen. Only a hang takes so long.
const Patience = 60 * time.Second

// Main is for TestMain. It runs the program that [Command] asked for in this process, or the tests. A
// program that returns an error prints it and exits with status 1.
func Main(m *testing.M, programs map[string]func() error) {
	name, asked := os.LookupEnv(programVariable)
	if !asked {
		os.Exit(m.Run())
	}
	program, ok := programs[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "no program %q\n", name)
		os.Exit(2)
	}
	if err := program(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// MainWithExamples is for TestMain of a package whose examples need what a machine may lack. Where missing is not nil,
// it says so and leaves them out.
func MainWithExamples(m *testing.M, missing error) {
	flag.Parse()
	if missing != nil {
		fmt.Println("note: no examples:", missing)
		_ = flag.Set("test.skip", "^Example")
	}
	os.Exit(m.Run())
}

// Programs returns the directory with programs that were built elsewhere, where there is no compiler, and
// "" where tests build what they need.
func Programs() string { return os.Getenv("SHMTEST_PROGRAMS") }

// emulatorVariable names the emulator that this test binary runs under, where the kernel does not know how to start a
// program of its kind.
const emulatorVariable = "SHMTEST_EMULATOR"

// Command returns the command that runs a program of Main in a process of its own.
func Command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	if emulator := os.Getenv(emulatorVariable); emulator != "" {
		cmd = exec.Command(emulator, append([]string{os.Args[0]}, args...)...)
	}
	cmd.Env = append(os.Environ(), programVariable+"="+program)
	return cmd
}

// Process is a child process of a test: it reports by lines on its standard output and is told what to
// do by lines on its standard input. It is killed when the test ends.
type Process struct {
	t      testing.TB
	cmd    *exec.Cmd
	stdin  *os.File
	stderr string // path
	lines  chan string
	done   chan struct{} // closed when it is dead and waited for
}

// Start runs a program of Main in a process of its own.
func Start(t testing.TB, program string, args ...string) *Process {
	t.Helper()
	return StartCommand(t, Command(program, args...))
}

// StartCommand runs any command, whose standard input, output and error it sets.
func StartCommand(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	in, stdin := pipe(t)
	stdout, out := pipe(t)
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, stderr
	err = cmd.Start()
	for _, f := range []*os.File{in, out, stderr} {
		f.Close()
	}
	if errors.Is(err, syscall.ENOEXEC) {
		Skip(t, "an emulated program cannot run itself", "register the emulator with binfmt_misc (qemu-user-static)")
	}
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{t: t, cmd: cmd, stdin: stdin, stderr: stderr.Name(), lines: make(chan string, 1024), done: make(chan struct{})}
	go p.scan(stdout)
	go p.wait()
	t.Cleanup(func() {
		p.Kill()
		stdin.Close()
		stdout.Close()
	})
	return p
}

func pipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

func (p *Process) scan(stdout *os.File) {
	defer stdout.Close()
	defer close(p.lines)
	for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
		p.lines <- scanner.Text()
	}
}

func (p *Process) wait() {
	_ = p.cmd.Wait() // what it says is in ProcessState
	p.stdin.Close()
	close(p.done)
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Tell sends the process a line.
func (p *Process) Tell(line string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.stdin, line); err != nil {
		p.t.Fatalf("tell process %d %q: %v%s", p.PID(), line, err, p.said())
	}
}

// Hear returns the next line that the process prints. When it dies first, or takes longer than
// Patience, the test fails and shows what the process was doing.
func (p *Process) Hear() string {
	p.t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			<-p.done
			p.t.Fatalf("process %d ended, %v, before it printed a line%s", p.PID(), p.cmd.ProcessState, p.said())
		}
		return line
	case <-time.After(Patience):
		p.stuck("print a line")
		return ""
	}
}

// Heard returns the next line that the process has printed, or "" when there is none yet.
func (p *Process) Heard() string {
	select {
	case line := <-p.lines:
		return line
	default:
		return ""
	}
}

// Ask sends the process a line and returns its answer.
func (p *Process) Ask(line string) string {
	p.t.Helper()
	p.Tell(line)
	return p.Hear()
}

// Want fails the test unless the next line is exactly this.
func (p *Process) Want(line string) {
	p.t.Helper()
	if got := p.Hear(); got != line {
		p.t.Fatalf("process %d printed %q, want %q%s", p.PID(), got, line, p.said())
	}
}

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("signal process %d: %v%s", p.PID(), err, p.said())
	}
}

// Kill kills the process with SIGKILL and waits until it is gone. A process that is gone is left alone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may be gone
	<-p.done
}

// Wait waits until the process ends and returns how it did.
func (p *Process) Wait() *os.ProcessState {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(Patience):
		p.stuck("end")
	}
	return p.cmd.ProcessState
}

// Succeed fails the test unless the process ends with status 0.
func (p *Process) Succeed() {
	p.t.Helper()
	if state := p.Wait(); !state.Success() {
		p.t.Fatalf("process %d: %v%s", p.PID(), state, p.said())
	}
}

// Ended reports whether the process is gone.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Killed reports whether the process, which has ended, was killed by SIGKILL.
func (p *Process) Killed() bool {
	status, ok := p.Wait().Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Dump makes the process write down what its goroutines do and end, and returns that.
func (p *Process) Dump() string {
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.Kill()
	}
	return p.said()
}

func (p *Process) stuck(what string) {
	p.t.Helper()
	p.t.Fatalf("process %d did not %s within %v%s", p.PID(), what, Patience, p.Dump())
}

// said returns what the process wrote to its standard error.
func (p *Process) said() string {
	text, err := os.ReadFile(p.stderr)
	if err != nil || len(text) == 0 {
		return ""
	}
	return "\n" + strings.TrimSpace(string(text))
}

// Said returns what the process has written to its standard error.
func (p *Process) Said() string { return strings.TrimSpace(p.said()) }

// Until polls a condition and fails the test when it does not come true within Patience.
func Until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, Patience)
		}
	}
}

var input = bufio.NewReader(os.Stdin)

// Listen returns, in a program, the next line that the test has sent with Tell. Without one, because
// the test has ended, it ends the process.
func Listen() string {
	line, err := input.ReadString('\n')
	if err != nil {
		os.Exit(0)
	}
	return strings.TrimSuffix(line, "\n")
}
