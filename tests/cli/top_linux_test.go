package cli

import (
	"encoding/json"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
)

// TestTopOnce: one interval of a heap at work, as JSON and as text, has rates of the process and of its queue; after
// its death it is listed as dead, as nobody has recovered what it held.
func TestTopOnce(t *testing.T) {
	w := newWorkload(t)
	var s struct {
		Peers []struct {
			PID       int
			Program   string
			Alive     bool
			Held      uint64
			AllocRate float64 `json:"alloc_rate"`
		}
		Queues []struct {
			Root, Kind string
			Depth      int
			PushRate   float64 `json:"push_rate"`
			Producers  []string
		}
		Cells []struct{ Kind string }
	}
	w.until("the worker is at work", func() bool {
		out, err := w.shmheap("top", "orders", "--once", "--json").Output()
		if err == nil {
			err = json.Unmarshal(out, &s)
		}
		if err != nil || len(s.Peers) != 1 || len(s.Cells) == 0 {
			t.Fatalf("%v\n%s", err, out)
		}
		return len(s.Queues) == 1 && s.Queues[0].PushRate > 0 && s.Peers[0].AllocRate > 0
	})
	if p := s.Peers[0]; p.PID != w.worker.Process.Pid || p.Program != "churn" || !p.Alive || p.Held < 300_000 {
		t.Errorf("%+v", p)
	}
	if q := s.Queues[0]; q.Root != "jobs" || q.Kind != "mpmc" || q.Depth < 9 || q.Depth > 12 || len(q.Producers) != 1 {
		t.Errorf("%+v", q)
	}
	w.kill()
	out, err := w.shmheap("top", "orders", "--once", "--interval", "100ms").Output()
	if err != nil || !regexp.MustCompile(`(?m)^ .* dead +0\.[0-9]+ +churn$`).Match(out) || !strings.Contains(string(out), "TTTT") {
		t.Errorf("%v\n%s", err, out)
	}
	if info, err := w.shmheap("info", "orders").Output(); err != nil || !strings.Contains(string(info), " dead") {
		t.Errorf("top changed the heap: %v\n%s", err, info)
	}
}

// terminal is a program in a terminal of 80 columns and 24 lines.
type terminal struct {
	t      *testing.T
	cmd    *exec.Cmd
	keys   io.WriteCloser
	screen *vt.SafeEmulator
	done   chan struct{}

	mu   sync.Mutex
	last []byte // what was written at last
}

func startTerminal(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	x := &terminal{t: t, cmd: cmd, keys: f, screen: vt.NewSafeEmulator(80, 24), done: make(chan struct{})}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-x.done
		x.screen.Close()
		f.Close()
	})
	go io.Copy(f, x.screen) // what a terminal answers when it is asked what it can
	go x.show(f)
	return x
}

// show puts on the screen what the program writes, until it ends.
func (x *terminal) show(f io.Reader) {
	defer close(x.done)
	for b := make([]byte, 4096); ; {
		n, err := f.Read(b)
		if n > 0 {
			x.mu.Lock()
			x.last = append(x.last[max(0, len(x.last)-4096):], b[:n]...)
			x.mu.Unlock()
			_, _ = x.screen.Write(b[:n])
		}
		if err != nil {
			return
		}
	}
}

func (x *terminal) text() string { return x.screen.String() }

// written is the end of what was written, with all escapes.
func (x *terminal) written() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return string(x.last)
}

func (x *terminal) press(keys string) {
	x.t.Helper()
	if _, err := io.WriteString(x.keys, keys); err != nil {
		x.t.Fatal(err)
	}
}

// TestTopInTerminal: it draws, follows the heap, obeys keys, shows who was killed and gives the terminal back.
func TestTopInTerminal(t *testing.T) {
	w := newWorkload(t)
	x := startTerminal(t, w.shmheap("top", "orders", "--interval", "100ms"))
	sees := func(want string) {
		t.Helper()
		defer func() {
			if t.Failed() {
				t.Logf("on the terminal:\n%s", x.text())
			}
		}()
		w.until("top shows "+want, func() bool { return strings.Contains(x.text(), want) })
	}
	for _, want := range []string{"heap orders: 64 MiB", "*HOLDS", "churn", "*DEPTH", "jobs", "*BYTES", "q quit", "░"} {
		sees(want)
	}
	x.press("s")
	sees("*ALLOC/S")
	x.press(" ")
	sees("paused")
	x.press(" ")
	x.press("-")
	sees("every 200ms")
	x.press("\t")
	x.press("s")
	sees("*CAP")
	w.kill()
	sees("dead")
	x.press("q")
	late := make(chan error, 1)
	go func() { late <- x.cmd.Wait() }()
	w.until("top ends", func() bool { return len(late) == 1 })
	if err := <-late; err != nil {
		t.Error(err)
	}
	<-x.done
	if end := x.written(); !strings.Contains(end, "\x1b[?1049l") || !strings.Contains(end, "\x1b[?25h") {
		t.Errorf("the terminal is not as it was: %q", end)
	}
}

// TestTopOfRemovedHeap: top ends, with an error, when there is nothing to look at any more.
func TestTopOfRemovedHeap(t *testing.T) {
	w := newWorkload(t)
	x := startTerminal(t, w.shmheap("top", "orders", "--interval", "100ms"))
	w.until("top draws", func() bool { return strings.Contains(x.text(), "churn") })
	if out, err := w.shmheap("rm", "orders", "--force").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.until("top says so", func() bool { return strings.Contains(x.written(), "was removed") })
	if err := x.cmd.Wait(); x.cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("%v, want status 1", err)
	}
}
