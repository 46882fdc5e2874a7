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
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/guest"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/lock"
	"github.com/shmheap/shmheap/queue"
)

func TestMain(m *testing.M) {
	shmtest.Main(m, map[string]func() error{"far": runFar})
}

// term is long against what an emulated processor on a busy machine makes a process wait.
const term = 10 * time.Second

// TestTwoMachines: see the package comment.
func TestTwoMachines(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		shmtest.SkipAnywhere(t, "the emulated machine has the memory order of this one on amd64 alone")
	}
	const size = 32 << 20
	memory, f := sharedFile(t, size)
	h, err := heap.CreateShared(f, "machines", term, &heap.Options{MaxPeers: 16, MaxRoots: 16, MaxCaches: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	b, err := alloc.New[board](a)
	if err == nil {
		b.self = b
		err = alloc.StoreRoot(a, "board", b)
	}
	if err != nil {
		t.Fatal(err)
	}
	q, err := queue.Open(a, "queue", &queue.Options{Capacity: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	other := switchOn(t, memory, size)
	together(t, a, b, q, other)
	if err := other.switchOff(); !errors.Is(err, context.Canceled) {
		t.Fatalf("the other machine ended by itself: %v", err)
	}
	t.Logf("note: the other machine said: %s", other.said)
	alone(t, a, b)
}

// sharedFile makes the memory of the device.
func sharedFile(t *testing.T, size int64) (path string, f *os.File) {
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

// machine is the other one.
type machine struct {
	off   context.CancelFunc
	ended chan struct{}

	// Behind ended:
	said string // by its program
	err  error
}

// switchOn boots the other machine. It runs until it is switched off, or its program fails.
func switchOn(t *testing.T, memory string, size int64) *machine {
	ctx, off := context.WithCancel(t.Context())
	m := &machine{off: off, ended: make(chan struct{})}
	dir := t.TempDir()
	go func() {
		defer close(m.ended)
		m.said, m.err = boot(ctx, dir, memory, size)
	}()
	t.Cleanup(func() { _ = m.switchOff() })
	return m
}

// switchOff ends the other machine as a power cut does, wherever its processors are: QEMU is killed. The error is
// context.Canceled when nothing else has ended it before; else it has the end of the console.
func (m *machine) switchOff() error {
	m.off()
	<-m.ended
	return m.err
}

func boot(ctx context.Context, dir, memory string, size int64) (said string, err error) {
	if _, err := guest.Emulator("amd64"); err != nil {
		return "", err
	}
	kernel, err := guest.Debian("amd64", "6.12")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "ivshmem.test")
	if err := guest.Build("amd64", "test", "-c", "-o", binary, "github.com/shmheap/shmheap/tests/ivshmem"); err != nil {
		return "", err
	}
	g := guest.Guest{
		Arch: "amd64", Kernel: kernel.Image, Memory: 512, Files: []guest.File{{Path: "/ivshmem.test", Host: binary}},
		Devices: []string{
			fmt.Sprintf("-object memory-backend-file,id=shared,share=on,size=%d,mem-path=%s", size, memory),
			"ivshmem-plain,memdev=shared",
		},
		Steps: []guest.Step{{Name: "far", Args: []string{"/ivshmem.test"}, Env: []string{"SHMTEST_PROGRAM=far"}}},
	}
	r, err := g.Run(ctx)
	if r == nil {
		return "", err
	}
	step, _ := r.Step("far")
	said = strings.TrimSpace(step.Output)
	if err == nil {
		err = fmt.Errorf("its program ended with status %d: %s", step.Status, said)
	}
	return said, err
}

// await waits for a stage of the other machine.
func (m *machine) await(t *testing.T, b *board, stage uint64) {
	t.Helper()
	err := until(fmt.Sprintf("stage %d", stage), func() bool {
		select {
		case <-m.ended:
			return true
		default:
			return b.stage.Load() >= stage
		}
	})
	if err != nil {
		t.Fatal(err, m.switchOff())
	}
	if b.stage.Load() < stage {
		skipOr(t, m.err)
	}
}

// skipOr ends the test because there is no other machine, or it failed.
func skipOr(t *testing.T, err error) {
	t.Helper()
	switch {
	case errors.Is(err, guest.ErrNoEmulator):
		shmtest.Skip(t, err.Error(), "install qemu-system-x86")
	case errors.Is(err, guest.ErrCannotFetch):
		shmtest.Skip(t, err.Error(), "test on Debian with a network, or fill the cache: see internal/guest")
	}
	t.Fatalf("the other machine ended too early: %v", err)
}

// together is the time while both machines work. This one gets messages.
func together(t *testing.T, a *alloc.Allocator, b *board, q *queue.Queue, other *machine) {
	t.Helper()
	h := a.Heap()
	other.await(t, b, farAttached)
	peers, err := h.Peers()
	if err != nil || len(peers) != 2 || !peers[1].Alive {
		t.Fatalf("peers %+v, %v", peers, err)
	}
	c, err := q.Consumer()
	if err != nil {
		t.Fatal(err)
	}
	in := inbox{a: a, c: c}
	b.stage.Swap(nearReady)
	begin := time.Now()
	if err := b.work(h, a, near, func(uint64) error { return in.empty() }); err != nil {
		t.Fatal(err, other.switchOff())
	}
	b.stage.Swap(nearDone)
	other.await(t, b, farHolds)
	t.Logf("note: %d nodes of each machine in %v", contest, time.Since(begin))
	if err := in.empty(); err != nil || in.got != contest {
		t.Errorf("%d messages came from the other machine, want %d: %v", in.got, contest, err)
	}
	if n := b.count.Load(); n != 2*contest {
		t.Errorf("the machines counted to %d together, want %d", n, 2*contest)
	}
	if err := b.mutex.TryLock(h); !errors.Is(err, lock.ErrLocked) {
		t.Errorf("a mutex that the living other machine has: %v", err)
	}
}

// inbox takes the other machine's messages and frees them. They come in order.
type inbox struct {
	a   *alloc.Allocator
	c   *queue.Consumer
	got uint64
}

func (in *inbox) empty() error {
	for {
		off, err := in.c.TryPop()
		if errors.Is(err, queue.ErrEmpty) {
			return nil
		}
		if err != nil {
			return err
		}
		m := mem.View[message](in.a.Heap().Memory(), off)
		if m.text.String() != names[far] || m.value != in.got {
			return fmt.Errorf("message %d at %#x is %q %d", in.got, off, m.text.String(), m.value)
		}
		if err := m.delete(in.a); err != nil {
			return err
		}
		in.got++
	}
}

// alone is the time behind the other machine's death: it is noticed, all that it had for itself comes back, and what it
// has allocated stays.
func alone(t *testing.T, a *alloc.Allocator, b *board) {
	t.Helper()
	h := a.Heap()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 6*term)
	defer cancel()
	if err := b.mutex.Lock(ctx, h); !errors.Is(err, lock.ErrOwnerDied) {
		t.Fatalf("a mutex of the dead: %v", err)
	}
	t.Logf("note: %v behind the end of the other machine it is known to be dead; the term is %v", time.Since(begin), term)
	if err := errors.Join(b.walk(), b.mutex.MarkConsistent(h), b.mutex.Unlock(h)); err != nil {
		t.Error(err)
	}
	if r, err := a.Recover(); err != nil || r.Peers != 1 || r.Caches == 0 {
		t.Errorf("recovered %+v, %v", r, err)
	}
	for range contest { // from what the dead had, too
		if _, err := newNode(a, near, contest); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.walk(); err != nil {
		t.Error("behind the recovery: ", err)
	}
	r := a.Check()
	for _, p := range append(r.Problems, r.Notes...) {
		t.Error("check: ", p)
	}
}
