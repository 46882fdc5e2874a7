package launch

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// terminal returns the two ends of a new pseudo terminal.
func terminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	var locked, number int32
	for request, arg := range map[uintptr]*int32{syscall.TIOCSPTLCK: &locked, syscall.TIOCGPTN: &number} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, ours.Fd(), request, uintptr(unsafe.Pointer(arg))); errno != 0 {
			t.Fatal(errno)
		}
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}

// TestTerminal types at a launched program: Ctrl-C reaches it once.
func TestTerminal(t *testing.T) {
	ours, theirs := terminal(t)
	// Without noflsh the terminal throws away output that is on its way when Ctrl-C is typed, which may be
	// the answer to it: the signal is sent first (drivers/tty/n_tty.c, isig).
	const script = `test -t 0 && test -t 1 && stty noflsh -echo || exit 9
trap 'n=$((n+1)); echo interrupted $n' INT
echo ready
while read line; do echo heard $line; test "$line" != end || exit 5; done`
	args := launch("bash", "-c", script)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close() // so that reading ends when the program does
	late := time.AfterFunc(shmtest.Patience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	lines := bufio.NewScanner(ours)
	expect := func(want string) {
		t.Helper()
		for lines.Scan() {
			if got := strings.TrimSpace(lines.Text()); got == want {
				return
			} else if strings.HasPrefix(got, "interrupted") {
				t.Fatalf("%q, want %q", got, want)
			}
		}
		t.Fatalf("no %q: %v", want, lines.Err())
	}
	typeIn := func(keys string) {
		t.Helper()
		if _, err := ours.WriteString(keys); err != nil {
			t.Fatal(err)
		}
	}
	expect("ready")
	// A line follows at once: where the signal comes just before bash reads, the trap waits for a line.
	typeIn("\x03hello\n")
	expect("interrupted 1")
	expect("heard hello")
	typeIn("end\n")
	expect("heard end")
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("%v, want status 5", err)
	}
}
