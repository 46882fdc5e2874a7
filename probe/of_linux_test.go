package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
)

func init() {
	children["stranger"] = ofParentAsStranger
}

func TestOfThisProcess(t *testing.T) {
	mappings, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(mappings, func(m Mapping) bool { return m.Path == program && strings.Contains(m.Perms, "x") }) {
		t.Errorf("no code of %s in %v", program, mappings)
	}
	if last := mappings[len(mappings)-1]; last.End > 1<<63 {
		t.Errorf("%v belongs to the kernel", last)
	}
}

func TestOfNobody(t *testing.T) {
	for _, pid := range []int{0, -1, math.MinInt, math.MaxInt, math.MaxInt32} {
		if _, err := Of(pid); !errors.Is(err, ErrNoProcess) {
			t.Errorf("Of(%d): %v", pid, err)
		}
	}
}

// A process that has ended and was not waited for keeps its id, and has no memory.
func TestOfZombie(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	shmtest.Until(t, "zombie", func() bool {
		state, err := sys.StateOf(pid)
		return err == nil && state.Ended
	})
	if _, err := Of(pid); !errors.Is(err, ErrNoProcess) {
		t.Errorf("zombie: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := Of(pid); !errors.Is(err, ErrNoProcess) {
		t.Errorf("gone: %v", err)
	}
}

func TestOfProcessOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		if _, err := Of(1); !errors.Is(err, ErrDenied) {
			t.Errorf("Of(1): %v", err)
		}
		return
	}
	if out := runChild(t, "stranger"); !strings.Contains(out, ErrDenied.Error()) {
		t.Errorf("another user sees: %s", out)
	}
}

func ofParentAsStranger() error {
	const nobody = 65534
	if err := syscall.Setuid(nobody); err != nil {
		return err
	}
	_, err := Of(os.Getppid())
	fmt.Println(err)
	return nil
}

func TestWhyUnseen(t *testing.T) {
	me := os.Getpid()
	for _, test := range []struct {
		pid       int
		err, want error
	}{
		{me, fs.ErrNotExist, ErrHidden}, // as with hidepid=2 and without /proc
		{me, syscall.ESRCH, ErrHidden},
		{me, syscall.EPERM, ErrDenied}, // as with hidepid=1
		{me, syscall.EIO, syscall.EIO},
		{math.MaxInt32, fs.ErrNotExist, ErrNoProcess},
		{math.MaxInt32, errors.ErrUnsupported, errors.ErrUnsupported},
	} {
		if got := whyUnseen(test.pid, test.err); !errors.Is(got, test.want) {
			t.Errorf("process %d, %v: %v, want %v", test.pid, test.err, got, test.want)
		}
	}
}

func TestProcessOccupant(t *testing.T) {
	o, err := ProcessOccupant(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("process %d (", os.Getpid()); !strings.HasPrefix(o.Name, want) || len(o.Obstacles) == 0 {
		t.Errorf("%q with %d obstacles", o.Name, len(o.Obstacles))
	}
	if _, err := ProcessOccupant(math.MaxInt32); !errors.Is(err, ErrNoProcess) {
		t.Errorf("nobody: %v", err)
	}
}
