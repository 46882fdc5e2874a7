package ivshmem

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/guest"
	"github.com/shmheap/shmheap/internal/guest/lab"
	"github.com/shmheap/shmheap/internal/shmtest"
)

func TestMain(m *testing.M) {
	shmtest.Main(m, map[string]func() error{"near": runNear, "far": runFar})
}

const size = 32 << 20

// TestTwoMachines: this machine and one that is emulated.
func TestTwoMachines(t *testing.T) {
	memory, f := sharedFile(t)
	a, b := found(t, f)
	other := switchOn(t, memory, "far", nil)
	s := survivor{a, b, func(stage uint64) error { return other.await(b, stage) }, func(format string, args ...any) {
		t.Logf("note: "+format, args...)
	}}
	if err := s.together(); err != nil {
		t.Fatal(errors.Join(err, other.switchOff()))
	}
	if err := other.switchOff(); !errors.Is(err, context.Canceled) {
		t.Fatalf("the other machine ended by itself: %v", err)
	}
	t.Logf("note: the other machine said: %s", other.said)
	if err := s.alone(); err != nil {
		t.Fatal(err)
	}
	if err := a.Heap().Close(); err != nil {
		t.Fatal(err)
	}
	audit(t, f)
}

// TestTwoGuests: two machines that are emulated. This one has made the heap, looks whether all is right in the end, and
// has no part in what they do.
func TestTwoGuests(t *testing.T) {
	memory, f := sharedFile(t)
	a, _ := found(t, f)
	if err := a.Heap().Close(); err != nil {
		t.Fatal(err)
	}
	held := make(chan struct{})
	far := switchOn(t, memory, "far", func(line string) {
		if line == holds {
			close(held)
		}
	})
	near := switchOn(t, memory, "near", nil)
	select {
	case <-held:
	case <-near.ended:
	case <-far.ended:
	}
	if err := far.switchOff(); !errors.Is(err, context.Canceled) {
		_ = near.switchOff()
		t.Fatal(errors.Join(err, near.err))
	}
	<-near.ended
	for name, m := range map[string]*machine{"near": near, "far": far} {
		t.Logf("note: the machine %s said: %s", name, strings.ReplaceAll(m.said, "\n", "; "))
	}
	if near.err != nil {
		t.Fatal(near.err)
	}
	audit(t, f)
}

// found makes the heap.
func found(t *testing.T, f *os.File) (*alloc.Allocator, *board) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		shmtest.SkipAnywhere(t, "the emulated machine has the memory order of this one on amd64 alone")
	}
	h, err := heap.CreateShared(f, "machines", term, &heap.Options{MaxPeers: 16, MaxRoots: 16, MaxCaches: 64})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() }) // the test has done so where nothing went wrong
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBoard(a)
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// audit opens the heap when no machine uses it any more. Every node is there, once; without them nothing is but the board, the
// queue, and what the dead machine was about to make or to free: a message and its text at most.
func audit(t *testing.T, f *os.File) {
	t.Helper()
	h, err := heap.OpenShared(f)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	b, err := loadBoard(a)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := a.Recover(); err != nil || r.Peers != 0 || r.Caches != 0 {
		t.Errorf("the living machine has left to recover: %+v, %v", r, err)
	}
	if err := errors.Join(b.walk(), check(a)); err != nil {
		t.Fatal(err)
	}
	for b.list != nil {
		n := b.list
		if b.list = n.next; n.delete(a) != nil {
			t.Fatalf("node %d at %p cannot be freed", n.value, n)
		}
	}
	lost, err := a.Collect(t.Context(), nil)
	if err != nil || lost.Blocks > 2 {
		t.Errorf("%+v lost, %v", lost, err)
	}
	const kept = 2
	if s, err := a.Stats(); err != nil || s.Live != kept {
		t.Errorf("%d blocks in use, want %d, %v: %+v", s.Live, kept, err, s)
	}
	t.Logf("note: the machine that was switched off has left %d blocks to nobody", lost.Blocks)
}

// sharedFile makes the memory of the device.
func sharedFile(t *testing.T) (path string, f *os.File) {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "shmheap-ivshmem-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "memory")
	f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = f.Truncate(size)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return path, f
}

// machine is one that is emulated.
type machine struct {
	off   context.CancelFunc
	ended chan struct{}

	// Behind ended:
	said string // by its program
	err  error  // nil when its program has ended well
}

// switchOn boots a machine with a program of this package, whose lines tell is called with if it is not nil. It runs until it
// is switched off, or its program ends.
func switchOn(t *testing.T, memory, program string, tell func(line string)) *machine {
	t.Helper()
	l := lab.Debian(t, "amd64", "6.12")
	l.Guest = guest.Guest{Memory: 512, Console: tell, Devices: []string{
		fmt.Sprintf("-object memory-backend-file,id=shared,share=on,size=%d,mem-path=%s", size, memory),
		"ivshmem-plain,memdev=shared",
	}}
	l.Test("tests/ivshmem", lab.Tests{Name: program, Env: []string{"SHMTEST_PROGRAM=" + program}})
	ctx, off := context.WithCancel(t.Context())
	m := &machine{off: off, ended: make(chan struct{})}
	go func() {
		defer close(m.ended)
		m.said, m.err = boot(ctx, l, program)
	}()
	t.Cleanup(func() { _ = m.switchOff() })
	return m
}

// switchOff ends the machine as a power cut does, wherever its processors are: QEMU is killed. The error is
// context.Canceled when nothing else has ended it before; else it has the end of the console.
func (m *machine) switchOff() error {
	m.off()
	<-m.ended
	return m.err
}

func boot(ctx context.Context, l *lab.Lab, program string) (said string, err error) {
	r, err := l.Boot(ctx)
	if r == nil {
		return "", err
	}
	step, _ := r.Step(program)
	said = strings.TrimSpace(step.Output)
	if err == nil && step.Status != 0 {
		err = fmt.Errorf("its program %s ended with status %d: %s", program, step.Status, said)
	}
	return said, err
}

// await waits for a stage of this machine.
func (m *machine) await(b *board, stage uint64) error {
	err := until(fmt.Sprintf("stage %d", stage), func() bool {
		select {
		case <-m.ended:
			return true
		default:
			return b.stage.Load() >= stage
		}
	})
	if err == nil && b.stage.Load() < stage {
		err = fmt.Errorf("it ended before stage %d", stage)
	}
	return err
}
