package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// leavesNothing returns a directory for heaps, and checks in the end that it and the temporary one are
// empty.
func leavesNothing(t *testing.T) (heaps string) {
	heaps, temp := heapDir(t), t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Cleanup(func() {
		for _, dir := range []string{heaps, temp} {
			if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		}
	})
	return heaps
}

func TestSessionMeasures(t *testing.T) {
	dir := leavesNothing(t)
	steps := 0
	r, err := Run(t.Context(), &Config{
		HeapDir: dir, Rounds: 2, Time: 60 * time.Millisecond,
		Only:     regexp.MustCompile("^(pairs/[12]|xproc/2|memory|recovery)$"),
		Command:  workerIn(dir),
		Progress: func(done, total int) { steps++; checkProgress(t, done, total, steps) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pairs/1", "pairs/2", "xproc/2"} {
		for _, subject := range []string{SubjectCache, SubjectAllocator} {
			row := r.row(name, subject)
			if row == nil || len(row.Rates) != 2 || row.Rate().Max <= 0 || row.Ops == 0 || len(row.Alloc) == 0 || row.Alloc[0].Calls == 0 {
				t.Errorf("%s of %s: %+v", name, subject, row)
			}
		}
	}
	if r.Memory.Small.Tables <= r.Memory.Small.Fixed || r.Memory.Drain.Full < drainFilling || r.Memory.Mixed[0].Committed < r.Memory.Mixed[0].Rounded {
		t.Errorf("memory %+v", *r.Memory)
	}
	if r.Recovery.Blocks < heldBlocks || r.Recovery.PerBlock.Min <= 0 {
		t.Errorf("recovery %+v", *r.Recovery)
	}
	if steps == 0 || r.Machine.CPU == "" {
		t.Errorf("%d steps on %+v", steps, r.Machine)
	}
}

func checkProgress(t *testing.T, done, total, steps int) {
	if done != steps || total != 3*2*2*2+2 {
		t.Errorf("step %d: %d of %d", steps, done, total)
	}
}

func TestMissingCompilerIsSaid(t *testing.T) {
	dir := leavesNothing(t)
	t.Setenv("PATH", t.TempDir())
	t.Setenv("CXX", "")
	r, err := Run(t.Context(), &Config{
		HeapDir: dir, Peers: true, Rounds: 1, Time: time.Millisecond, Only: regexp.MustCompile("^pairs/1$"), Command: workerIn(dir),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Peers {
		if (p.Missing == "") != (p.Name == SubjectGo) {
			t.Errorf("%s: missing %q", p.Name, p.Missing)
		}
	}
	if row := r.row("pairs/1", SubjectGo); row == nil {
		t.Error("Go's own memory was not measured")
	}
}

func TestMissingLibraryIsSaid(t *testing.T) {
	tools, err := newToolchain()
	if err != nil {
		t.Fatal(err)
	}
	defer tools.remove()
	if tools.missing != "" {
		shmtest.Skip(t, "no compiler", tools.missing)
	}
	b := tools.build(t.Context(), &Subject{Name: "x", source: "malloc.cc", library: "-lnosuchlibrary", packages: "libnosuch-dev"})
	if b.path != "" || !regexp.MustCompile("install libnosuch-dev: .*nosuchlibrary").MatchString(b.missing) {
		t.Errorf("built %+v", b)
	}
}

// TestInterruptedSessionLeavesNothing interrupts it when both workers are attached.
func TestInterruptedSessionLeavesNothing(t *testing.T) {
	dir := leavesNothing(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	attached := func() bool {
		infos, err := heap.List(&heap.Options{Dir: dir})
		return err == nil && len(infos) == 1 && infos[0].Peers == 3
	}
	go func() {
		for !attached() && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	command := workerIn(dir)
	var started []*exec.Cmd
	_, err := Run(ctx, &Config{
		HeapDir: dir, Rounds: 1, Time: time.Hour, Only: regexp.MustCompile("^pairs/2$"),
		Command: func(job *Job, name string) *exec.Cmd {
			started = append(started, command(job, name))
			return started[len(started)-1]
		},
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	for _, cmd := range started {
		if cmd.ProcessState == nil {
			t.Errorf("process %d was not waited for", cmd.Process.Pid)
		}
	}
	if len(started) != 2 {
		t.Errorf("%d workers", len(started))
	}
}

func TestFailedWorkerEndsTheOthers(t *testing.T) {
	dir := leavesNothing(t)
	s := &session{Config: &Config{HeapDir: dir, Command: workerIn(dir)}}
	_, err := s.doInHeap(t.Context(), &Job{Subject: SubjectCache, Loop: "broken", Sizes: sizesPairs, Workers: 2, Time: time.Hour})
	if err == nil || !regexp.MustCompile(`no loop "broken"`).MatchString(err.Error()) {
		t.Errorf("error %v", err)
	}
}

func TestNothingToMeasure(t *testing.T) {
	dir := leavesNothing(t)
	_, err := Run(t.Context(), &Config{HeapDir: dir, Rounds: 1, Time: 1, Only: regexp.MustCompile("nothing"), Command: workerIn(dir)})
	if !errors.Is(err, ErrNothing) {
		t.Errorf("error %v", err)
	}
}

// TestStaleHeapsAreSwept leaves the heap of a process that is gone, and one of this process.
func TestStaleHeapsAreSwept(t *testing.T) {
	dir := heapDir(t)
	c := workerIn(dir)(&Job{Workers: 1}, "x")
	if err := c.Run(); err == nil {
		t.Fatal("a worker without a heap succeeded")
	}
	stale, own := fmt.Sprintf("%s%d-1", namePrefix, c.Process.Pid), fmt.Sprintf("%s%d-1", namePrefix, os.Getpid())
	for _, name := range []string{stale, own} {
		h, err := heap.Create(name, &heap.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	sweepStale(dir)
	infos, err := heap.List(&heap.Options{Dir: dir})
	if err != nil || len(infos) != 1 || infos[0].Name != own {
		t.Errorf("left %+v, %v", infos, err)
	}
}
