package demo

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shmheap/shmheap/heap"
)

// Environment variables with which the test binary becomes a child of a demo.
const (
	envRole = "SHMHEAP_DEMO_ROLE"
	envName = "SHMHEAP_DEMO_NAME"
	envPace = "SHMHEAP_DEMO_PACE"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		os.Exit(childMain(Role(role)))
	}
	os.Exit(m.Run())
}

// childMain is the main of a worker or reader; the heap's directory comes from
// the environment as well.
func childMain(role Role) int {
	link := NewLink(os.Stdin, os.Stdout, func() { os.Exit(1) })
	pace, err := time.ParseDuration(os.Getenv(envPace))
	if err == nil {
		err = Serve(context.Background(), role, os.Getenv(envName), nil, link, pace)
	}
	if err != nil {
		os.Stderr.WriteString(err.Error())
		return 1
	}
	return 0
}

// config returns the configuration of a demo whose children are processes
// with this test binary.
func config(t *testing.T, folder string) *Config {
	dir := heapDir(t)
	return &Config{
		Folder: folder, HeapDir: dir, Workers: 3, Kill: true,
		Command: func(role Role, name string, pace time.Duration) *exec.Cmd {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), envRole+"="+string(role), envName+"="+name,
				envPace+"="+pace.String(), "SHMHEAP_DIR="+dir)
			return cmd
		},
	}
}

// wantEmpty requires that a demo has left nothing in its directory.
func wantEmpty(t *testing.T, cfg *Config) {
	t.Helper()
	left, err := os.ReadDir(cfg.HeapDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) || len(left) > 0 {
		t.Errorf("left behind: %v, error %v", left, err)
	}
}

// TestRun is the demo: processes, one of them killed for real.
func TestRun(t *testing.T) {
	cfg := config(t, folder(t, 200, 20))
	last := -1
	cfg.Progress = func(done, total int) {
		if done < last || total != 202 {
			t.Errorf("%d of %d files done after %d", done, total, last)
		}
		last = done
	}
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatalf("%v: %+v", err, r)
	}
	wantEmpty(t, cfg)
	if !r.OK || len(r.Processes) != 5 || last != 202 {
		t.Errorf("%d files done, report %+v", last, r)
	}
	k := r.Killed
	if k == nil || k.AfterFiles < 101 || k.Recovered.Peers != 1 || k.TakenOver > 1 || k.Files < 1 {
		t.Errorf("killed: %+v", k)
	}
}

func TestRunWithoutKill(t *testing.T) {
	cfg := config(t, folder(t, 5, 21))
	cfg.Workers, cfg.Kill, cfg.Keep = 1, false, true
	r, err := Run(t.Context(), cfg)
	if err != nil || r.Killed != nil {
		t.Fatalf("%v: %+v", err, r)
	}
	if _, err := heap.Stat(r.Heap, &heap.Options{Dir: cfg.HeapDir}); err != nil {
		t.Errorf("the heap is not kept: %v", err)
	}
}

func TestRunErrors(t *testing.T) {
	dir := folder(t, 5, 22)
	tests := []struct {
		name   string
		want   string
		change func(*Config)
	}{
		{"no worker", "nobody would be left", func(c *Config) { c.Workers = 0 }},
		{"one worker to kill", "nobody would be left", func(c *Config) { c.Workers = 1 }},
		{"no folder", "no such file", func(c *Config) { c.Folder = filepath.Join(dir, "missing") }},
		{"no program", "start worker 1", func(c *Config) {
			c.Command = func(Role, string, time.Duration) *exec.Cmd { return exec.Command(filepath.Join(dir, "missing")) }
		}},
		{"child without a word", "worker 1 (pid ", func(c *Config) {
			c.Command = func(Role, string, time.Duration) *exec.Cmd { return exec.Command("true") }
		}},
		{"child that fails", "no such heap", func(c *Config) {
			good := c.Command
			c.Command = func(role Role, name string, pace time.Duration) *exec.Cmd { return good(role, name+"x", pace) }
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := config(t, dir)
			test.change(cfg)
			if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			wantEmpty(t, cfg)
		})
	}
}

// TestRunInterrupted ends a demo at the first sign of progress.
func TestRunInterrupted(t *testing.T) {
	cfg := config(t, folder(t, 50, 23))
	cfg.Pace = time.Second
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Progress = func(int, int) { cancel() }
	if _, err := Run(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	wantEmpty(t, cfg)
}

// TestWorkerKilledByAnother has a worker die that the parent did not kill.
func TestWorkerKilledByAnother(t *testing.T) {
	cfg := config(t, folder(t, 50, 24))
	cfg.Kill, cfg.Pace = false, time.Minute
	var victim *exec.Cmd
	good := cfg.Command
	cfg.Command = func(role Role, name string, pace time.Duration) *exec.Cmd {
		cmd := good(role, name, pace)
		if victim == nil {
			victim = cmd
		}
		return cmd
	}
	cfg.Progress = func(int, int) { victim.Process.Signal(syscall.SIGKILL) }
	if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "worker 1 (pid") {
		t.Errorf("error %v", err)
	}
	wantEmpty(t, cfg)
}

// TestRunWithStoppedWorker stops a worker in the middle of a file: nobody
// takes the file from it, however long that lasts.
func TestRunWithStoppedWorker(t *testing.T) {
	cfg := config(t, folder(t, 20, 25))
	cfg.Kill, cfg.Pace = false, 50*time.Millisecond
	var victim *exec.Cmd
	good := cfg.Command
	cfg.Command = func(role Role, name string, pace time.Duration) *exec.Cmd {
		cmd := good(role, name, pace)
		if victim == nil {
			victim = cmd
		}
		return cmd
	}
	stopped, waited := false, 0
	cfg.Progress = func(done, total int) {
		switch {
		case !stopped:
			stopped = victim.Process.Signal(syscall.SIGSTOP) == nil
		case done >= total-1:
			if waited++; waited == 20 || done == total {
				victim.Process.Signal(syscall.SIGCONT)
			}
		}
	}
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatalf("%v: %+v", err, r)
	}
	for _, p := range r.Processes {
		if p.Tally != nil && p.Tally.TakenOver > 0 {
			t.Errorf("pid %d took over %d files", p.PID, p.Tally.TakenOver)
		}
	}
}

// TestStaleHeaps has a heap of a demo that is gone, one of a demo that runs,
// and one that is no demo's.
func TestStaleHeaps(t *testing.T) {
	dir := heapDir(t)
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	names := []string{"demo-x", namePrefix + strconv.Itoa(os.Getpid()), namePrefix + strconv.Itoa(gone.Process.Pid)}
	for _, name := range names {
		h, err := heap.Create(name, &heap.Options{Dir: dir, Size: 16 << 20})
		if err != nil {
			t.Fatal(err)
		}
		closeAll(t, h)
	}
	sweepStale(dir)
	infos, err := heap.List(&heap.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, info := range infos {
		left = append(left, info.Name)
	}
	slices.Sort(left)
	if want := slices.Sorted(slices.Values(names[:2])); !slices.Equal(left, want) {
		t.Errorf("left %q, want %q", left, want)
	}
}

// TestLink has a parent that gives the start and then goes away.
func TestLink(t *testing.T) {
	in, parent := io.Pipe()
	orphaned := make(chan struct{})
	l := NewLink(in, io.Discard, func() { close(orphaned) })
	if err := l.wait(done()); err == nil {
		t.Error("started without a start")
	}
	io.WriteString(parent, start+"\n")
	if err := l.wait(t.Context()); err != nil {
		t.Error(err)
	}
	parent.Close()
	<-orphaned
}

func TestJudge(t *testing.T) {
	fine := func() Report {
		p := Process{Hello: Hello{Base: "0x1", Index: "0x2"}}
		return Report{Base: "0x1", Processes: []Process{p, p}}
	}
	tests := map[string]func(*Report){
		"":       func(*Report) {},
		"base":   func(r *Report) { r.Processes[1].Base = "0x3" },
		"index":  func(r *Report) { r.Processes[1].Index = "0x3" },
		"digest": func(r *Report) { r.Private.Digest = "x" },
		"blocks": func(r *Report) { r.LiveBlocks = 1 },
		"check":  func(r *Report) { r.Problems = []string{"x"} },
	}
	for name, change := range tests {
		r := fine()
		change(&r)
		if r.judge(); r.OK != (name == "") {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
