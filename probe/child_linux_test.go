package probe

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// runChild runs the named child and returns what it printed. It fails the test when the child fails.
func runChild(t *testing.T, name string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+name)
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.ENOEXEC) {
		shmtest.SkipAnywhere(t, "an emulated program cannot run itself; register the emulator with binfmt_misc (qemu-user-static)")
	}
	if err != nil {
		t.Fatalf("child %s: %v\n%s", name, err, out)
	}
	return string(out)
}
