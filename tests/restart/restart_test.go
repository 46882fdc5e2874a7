package restart

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/heap"
)

// worker builds the program in its own way.
func worker(t *testing.T, name string, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	args := append([]string{"build", "-o", path, "-ldflags=-X main.build=" + name}, flags...)
	cmd := exec.Command("go", append(args, "./worker")...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, text)
	}
	return path
}

// work runs a build on the heap and returns what it found.
func work(t *testing.T, program, path string, n int) string {
	t.Helper()
	text, err := exec.Command(program, path, fmt.Sprint(n)).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(program), err, text)
	}
	name, rest, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	if name != filepath.Base(program) {
		t.Fatalf("it says %q", text)
	}
	_, rest, _ = strings.Cut(rest, " ") // the base
	return rest
}

// TestRestart: two builds of a program, with other addresses of its code and other bodies of this library, take turns
// on a heap in a file on a disk. In between nobody has it; some end without closing it.
func TestRestart(t *testing.T) {
	first := worker(t, "first")
	second := worker(t, "second", "-tags=shmheap_portable,crashpoint", "-trimpath")
	path := filepath.Join(t.TempDir(), "restart.heap")
	length, texts, queued := 0, 0, 0
	for turn := 1; turn <= 6; turn++ {
		program := first
		if turn%2 == 0 {
			program = second
		}
		n := 10 * turn
		if turn > 3 {
			n++ // an odd number dies
		}
		want := fmt.Sprintf("%d %d %d %d", length, length*(length+1)/2, texts, queued)
		if got := work(t, program, path, n); got != want {
			t.Fatalf("turn %d: found %s, want %s", turn, got, want)
		}
		length, texts, queued = length+n, texts+n*len(filepath.Base(program)), n
		if info, err := heap.Stat(path, nil); err != nil || info.Peers != 0 {
			t.Errorf("behind turn %d: %+v, %v", turn, info, err)
		}
	}
	if err := heap.Remove(path, nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("removed: %v", err)
	}
}
