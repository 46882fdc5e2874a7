package launch

import (
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

	"github.com/shmheap/shmheap/internal/handshake"
	"github.com/shmheap/shmheap/internal/shmtest"
)

func TestEveryStartSucceeds(t *testing.T) {
	for _, name := range []string{"go-static", "go-pie"} {
		t.Run(name, func(t *testing.T) {
			args := []string{program(name), "range", base, size}
			t.Logf("without the launcher: %v", count(t, starts, args...))
			if got := count(t, starts, launch(args...)...); got["adopted"] != starts {
				t.Errorf("%v, want adopted %d times", got, starts)
			}
		})
	}
	for name, flags := range cKinds {
		t.Run("c-"+name, func(t *testing.T) {
			args := launch(compile(t, "adopt.c", name, flags...), base, size)
			if got := count(t, starts, args...); got["adopted"] != starts {
				t.Errorf("%v, want adopted %d times", got, starts)
			}
		})
	}
}

// TestNeighbours reserves ranges that touch each other, which are one mapping to the kernel, and one
// that is as far away as the guard of another reaches.
func TestNeighbours(t *testing.T) {
	const mib16 = "0x1000000"
	bases := []string{"0x110000000000", "0x110001000000", "0x110002010000"}
	dir := heapDir(t)
	run := []string{program("shmheap"), "run", "--dir", dir, "--require"}
	for i, base := range bases {
		makeHeap(t, dir, fmt.Sprintf("heap%d", i), base, "16MiB")
		run = append(run, fmt.Sprintf("heap%d", i))
	}
	run = append(run, "--")
	for _, kind := range []string{"go-static", "go-pie"} {
		for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}} {
			args := append(slices.Clone(run), program(kind), "range")
			for _, i := range order {
				args = append(args, bases[i], mib16)
			}
			r := start(t, args...)
			if r.want(t, 0, ""); r.out != "adopted\nadopted\nadopted\n" {
				t.Errorf("%s, order %v: %q", kind, order, r.out)
			}
		}
	}
}

func TestExitStatus(t *testing.T) {
	dir := t.TempDir()
	script := write(t, filepath.Join(dir, "script"), "#!/bin/sh\nexit 7\n", 0o755)
	text := write(t, filepath.Join(dir, "text"), "no program\n", 0o644)
	noShebang := write(t, filepath.Join(dir, "noshebang"), "no program\n", 0o755)
	badShebang := write(t, filepath.Join(dir, "badshebang"), "#!/no/such/interpreter\n", 0o755)
	for _, test := range []struct {
		status int
		err    string
		args   []string
	}{
		{0, "", []string{"true"}},
		{3, "", []string{"sh", "-c", "exit 3"}},
		{127, "", []string{"sh", "-c", "exit 127"}},
		{255, "", []string{"sh", "-c", "exit 255"}},
		{7, "", []string{script}},
		{127, "no such file", []string{filepath.Join(dir, "missing")}},
		{127, "executable file not found", []string{"no-such-program-anywhere"}},
		{126, "permission denied", []string{text}},
		{126, "is a directory", []string{dir}},
		{126, "exec format error", []string{noShebang}},
		{127, "no such file", []string{badShebang}},
	} {
		start(t, launch(test.args...)...).want(t, test.status, test.err)
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"run", "--", "true"}, {"run", "orders", "true"}, {"run", "orders", "--"}, {"run", "--base", base, "--", "true"},
		{"run"}, {"run", "--no-such-flag", "--", "true"}, {"run", "--size", "x", "--", "true"}, {"run", "bad!name", "--", "true"},
		{"run", "--base"}, {"--dir", "/no/such", "run", "orders", "--", "true"},
	} {
		if r := start(t, append([]string{program("shmheap")}, args...)...); r.status != 125 || r.err == "" {
			t.Errorf("%v: status %d, %q", args, r.status, r.err)
		}
	}
	start(t, program("shmheap"), "run", "no-such-heap", "--", "true").want(t, 125, "no such heap")
	start(t, program("shmheap"), "run", "--base", "0x1001", "--size", "1GiB", "--", "true").want(t, 125, "multiples")
}

// TestPrivileged: a program, or the interpreter of a script, would silently run without its rights. The
// rights of a script count for nothing anyway.
func TestPrivileged(t *testing.T) {
	dir := t.TempDir()
	setuid := write(t, filepath.Join(dir, "setuid"), string(read(t, program("go-static"))), 0o755)
	if err := os.Chmod(setuid, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	capable := write(t, filepath.Join(dir, "capable"), string(read(t, program("go-static"))), 0o755)
	if !addCapability(t, capable) {
		capable = setuid
	}
	script := write(t, filepath.Join(dir, "script"), "#!"+setuid+" alone\n", 0o755)
	nested := write(t, filepath.Join(dir, "nested"), "#! "+script+"\n", 0o755)
	other := write(t, filepath.Join(dir, "other"), "#!"+capable+" alone\n", 0o755)
	for _, path := range []string{setuid, capable, script, nested, other} {
		start(t, launch(path)...).want(t, 126, "privileges of its own")
	}
	harmless := write(t, filepath.Join(dir, "harmless"), "#!/bin/sh\nexit 4\n", 0o755)
	if err := os.Chmod(harmless, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	start(t, launch(harmless)...).want(t, 4, "")
}

// addCapability gives a file CAP_NET_BIND_SERVICE (linux/capability.h: struct vfs_cap_data, version 2), where
// the user may.
func addCapability(t *testing.T, path string) bool {
	t.Helper()
	data := []byte{0x01, 0, 0, 0x02, 0, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	err := syscall.Setxattr(path, "security.capability", data, 0)
	if err != nil {
		t.Logf("note: file capabilities are not tested: %v", err)
	}
	return err == nil
}

// TestUnreadable: the kernel hides the memory of a program from those who may not read it.
func TestUnreadable(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "unreadable"), string(read(t, program("go-pie"))), 0o111)
	if f, err := os.Open(path); err == nil {
		f.Close()
		shmtest.SkipAnywhere(t, "root can read everything")
	}
	start(t, launch(path, "range")...).want(t, 0, "permission denied")
}

func TestDeathBySignal(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGSEGV, syscall.SIGKILL, syscall.SIGINT} {
		r := start(t, launch("sh", "-c", fmt.Sprintf("ulimit -c 0; kill -%d $$", int(signal)))...)
		if status := r.state.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != signal {
			t.Errorf("%v: %v", signal, r.state)
		}
	}
}

// TestBecomesTheProgram: the launcher leaves nothing but the program, in its own process.
func TestBecomesTheProgram(t *testing.T) {
	args := launch("sh", "-c", "echo $$; cat; exec "+program("go-static")+" alone")
	cmd := exec.Command(args[0], args[1:]...)
	input := strings.Repeat("standard input\n", 100_000)
	cmd.Stdin = strings.NewReader(input)
	r := finish(t, cmd)
	r.want(t, 0, "")
	if want := fmt.Sprintf("%d\n%salone\n", cmd.Process.Pid, input); r.out != want {
		t.Errorf("printed %d bytes, want %d: %.50q", len(r.out), len(want), r.out)
	}
}

// TestVariable: what the program finds in its environment, once.
func TestVariable(t *testing.T) {
	t.Setenv(handshake.Variable, "stale")
	r := start(t, launch("env")...)
	value := ""
	for line := range strings.Lines(r.out) {
		if text, ok := strings.CutPrefix(line, handshake.Variable+"="); ok {
			value += strings.TrimSpace(text)
		}
	}
	if !strings.HasPrefix(value, base+","+size+",") || len(handshake.Parse(value)) != 1 {
		t.Errorf("%s=%s", handshake.Variable, value)
	}
}

// TestGrandchild: a program that the launched one starts has the variable and no reservation.
func TestGrandchild(t *testing.T) {
	prober := program("go-static")
	got := count(t, starts/2, launch(prober, "exec", prober, "range", base, size)...)
	t.Logf("%v", got)
	if got["adopted"] != 0 || got["reserved"] == 0 {
		t.Errorf("%v, want some reserved and none adopted", got)
	}
}

func TestImpossibleRange(t *testing.T) {
	// The stack is there whatever the kernel draws at random, below the end of the last TiB.
	top := map[string]string{"amd64": "0x7f0000000000", "arm64": "0xff0000000000"}[runtime.GOARCH]
	taken := []string{program("shmheap"), "run", "--base", top, "--size", "1023GiB"}
	start(t, append(taken, "--", "true")...).want(t, 0, "warning: true: reserve ["+top)
	start(t, append(taken, "--require", "--", "true")...).want(t, 125, "there is ")
	beyond := []string{program("shmheap"), "run", "--base", "0x1000000000000000", "--size", "1GiB", "--require", "--", "true"}
	start(t, beyond...).want(t, 125, "beyond the address space")
	limited := "ulimit -v 4000000; exec " + strings.Join(launch("true"), " ")
	start(t, "sh", "-c", limited).want(t, 0, "address space limit")
	limited = strings.Replace(limited, " -- ", " --require -- ", 1)
	start(t, "sh", "-c", limited).want(t, 125, "ulimit -v unlimited")
}

// TestWithoutPtrace: what remains where a seccomp filter denies ptrace, as containers do.
func TestWithoutPtrace(t *testing.T) {
	deny := compile(t, "noptrace.c", "noptrace")
	denied := func(args ...string) []string { return append([]string{deny}, args...) }
	t.Run("stamp", func(t *testing.T) {
		got := count(t, starts, denied(launch(program("go-static"), "range", base, size)...)...)
		if got["adopted"] != starts {
			t.Errorf("%v, want adopted %d times", got, starts)
		}
	})
	for _, name := range []string{"no-pie", "static"} {
		t.Run("stamp "+name, func(t *testing.T) {
			c := compile(t, "adopt.c", name, cKinds[name]...)
			if got := count(t, starts, denied(launch(c, base, size)...)...); got["adopted"] != starts {
				t.Errorf("%v, want adopted %d times", got, starts)
			}
		})
	}
	t.Run("warning", func(t *testing.T) {
		r := start(t, denied(launch(program("go-pie"), "range", base, size)...)...)
		r.want(t, 0, "starts without [0x100000000000, 0x200000000000) reserved: ptrace(PTRACE_SEIZE): operation not permitted")
		r.want(t, 0, "position-independent")
		start(t, denied(launch(program("go-pie"), "exec", "sh", "-c", "exit 3")...)...).want(t, 1, "warning")
	})
	t.Run("require", func(t *testing.T) {
		args := denied(program("shmheap"), "run", "--base", base, "--size", tib, "--require", "--", program("go-pie"))
		start(t, args...).want(t, 125, "position-independent")
	})
	t.Run("setuid", func(t *testing.T) {
		start(t, denied(launch(filepath.Join(t.TempDir(), "missing"))...)...).want(t, 127, "no such file")
	})
}

// TestExplainLaunched: from outside, a launcher's reservation is told from one that is in the way, until it
// is taken over.
func TestExplainLaunched(t *testing.T) {
	dir := heapDir(t)
	makeHeap(t, dir, "orders", base, tib)
	t.Setenv("SHMHEAP_DIR", dir)
	stamped := filepath.Join(t.TempDir(), "stamped")
	stampIt(t, program("go-static"), "-o", stamped).want(t, 0, "")
	run := []string{program("shmheap"), "run", "orders", "--require", "--"}
	for name, test := range map[string]struct {
		args   []string
		status int
		text   string
	}{
		"launched":   {append(slices.Clone(run), program("go-pie"), "wait"), 0, "were reserved for it when it was started"},
		"stamped":    {[]string{stamped, "wait"}, 0, "were reserved for it when it was started"},
		"taken over": {append(slices.Clone(run), program("go-pie"), "hold", base, size), 1, "cannot join it"},
		"heir":       {append(slices.Clone(run), "env", program("go-pie"), "hold", base, size), 1, "cannot join it"},
	} {
		t.Run(name, func(t *testing.T) {
			p := shmtest.StartCommand(t, exec.Command(test.args[0], test.args[1:]...))
			p.Hear()
			r := start(t, program("shmheap"), "explain", "orders", "--pid", strconv.Itoa(p.PID()))
			if r.status != test.status || !strings.Contains(r.out, test.text) {
				t.Errorf("status %d, want %d; %q\n%s", r.status, test.status, test.text, r.out)
			}
		})
	}
	r := start(t, append(run, program("shmheap"), "explain", "orders", "--json")...)
	if r.want(t, 0, ""); !strings.Contains(r.out, `"reserved": true`) || !strings.Contains(r.out, `"free": true`) {
		t.Errorf("of itself: %s", r.out)
	}
}
